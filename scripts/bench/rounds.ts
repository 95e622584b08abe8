/**
 * Runs rounds, interleaved: every subject once, then every subject again, in turning direction. What else the machine
 * does meanwhile then meets all of them, and a comparison holds on a noisy machine.
 */

import { loadavg } from 'node:os'
import type { ErrorLog } from './errors.js'
import type { Progress } from './progress.js'
import type { Figures } from './stats.js'

/** One thing that is measured: a target, a variant of a target, or a floor. */
export interface Subject {
  readonly name: string
  /** Label of the target it belongs to; a floor has none. */
  readonly target?: string
  readonly errors: ErrorLog
  /** Before the first round; not measured. */
  warmUp?(): Promise<unknown>
  round(): Promise<Figures>
  close(): Promise<void> | void
}

export interface Measured {
  readonly name: string
  readonly target?: string
  readonly errors: ErrorLog
  /** Each with the machine's load average over one minute at its end, as `load`. */
  readonly rounds: Figures[]
}

/** Ends early when the signal is aborted. */
export async function measure(
  subjects: readonly Subject[],
  rounds: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<Measured[]> {
  for (const subject of subjects) {
    progress.show(`${subject.name}: warming up`)
    await subject.warmUp?.()
  }
  const measured = subjects.map(({ name, target, errors }) => ({ name, target, errors, rounds: [] as Figures[] }))
  for (let round = 0; round < rounds; round++) {
    for (const index of turn(subjects.length, round)) {
      if (signal.aborted) return measured
      progress.show(`round ${round + 1} of ${rounds}: ${subjects[index]!.name}`)
      measured[index]!.rounds.push({ ...(await subjects[index]!.round()), load: loadavg()[0] })
    }
  }
  return measured
}

/** 0 … n-1 in even rounds, backwards in odd ones, so that no subject always runs behind the same other one. */
function turn(count: number, round: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index)
  return round % 2 === 0 ? order : order.reverse()
}
