/** One run of a scenario, from the command line's options to the printed report. */

import { setMaxListeners } from 'node:events'
import { Population } from './population.js'
import { Progress } from './progress.js'
import { humanReport, report } from './report.js'
import { measure, type Measured, type Subject } from './rounds.js'
import type { Bench, CommonOptions, Scenario } from './scenario.js'
import { resolveTargets, type Target, type TargetOptions } from './target.js'

export interface RunOptions extends CommonOptions, TargetOptions {
  readonly json: boolean
  readonly maxMinutes: number
}

/** Prints to standard output. The process's exit code is 1 when a target made errors or the run was cut short. */
export async function run<Options extends object>(
  scenario: Scenario<Options>,
  options: Options & RunOptions,
): Promise<void> {
  const startedAt = new Date()
  const targets = scenario.needsNoTarget === true ? [] : await resolveTargets(options)
  const progress = new Progress()
  const ending = new Ending(options.maxMinutes)
  const populations = new Map(
    targets.map((target) => [target, new Population(target, progress, options.roomVersion, ending.signal)]),
  )
  const populationOf = (target: Target) => populations.get(target)!
  const bench = { options, targets, progress, signal: ending.signal, populationOf }
  try {
    const measured = await measureScenario(scenario, bench)
    progress.clear()
    if (measured.length === 0) return // there was only something to prepare
    const result = report(scenario, withoutSecrets(options), startedAt, measured)
    console.log(options.json ? JSON.stringify(result, undefined, 2) : humanReport(scenario, result))
    const failed = measured.some(({ errors }) => errors.count > 0)
    if (ending.signal.aborted) console.error(`Cut short: ${(ending.signal.reason as Error).message}`)
    if (failed || ending.signal.aborted) process.exitCode = 1
  } finally {
    progress.clear()
    ending.clear()
    for (const population of populations.values()) population.close()
  }
}

async function measureScenario<Options>(scenario: Scenario<Options>, bench: Bench<Options>): Promise<Measured[]> {
  const subjects: Subject[] = await scenario.prepare(bench)
  try {
    return await measure(subjects, bench.options.rounds, bench.progress, bench.signal)
  } finally {
    // In reverse: what was made last may use what was made before.
    for (const subject of subjects.reverse()) await subject.close()
  }
}

/** Out of time, or Ctrl-C: rounds end early, and what was measured is printed. A second Ctrl-C ends the process. */
class Ending {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #interrupt = () => this.#controller.abort(new Error('interrupted'))

  constructor(maxMinutes: number) {
    // Each server that a scenario plays listens for the end.
    setMaxListeners(0, this.#controller.signal)
    const outOfTime = () => this.#controller.abort(new Error(`not done after ${maxMinutes} minutes (--max-minutes)`))
    this.#timer = setTimeout(outOfTime, maxMinutes * 60_000)
    process.once('SIGINT', this.#interrupt)
    process.once('SIGTERM', this.#interrupt)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  clear(): void {
    clearTimeout(this.#timer)
    process.off('SIGINT', this.#interrupt)
    process.off('SIGTERM', this.#interrupt)
  }
}

function withoutSecrets(options: RunOptions): object {
  return { ...options, sharedSecret: undefined, databaseUrl: undefined }
}
