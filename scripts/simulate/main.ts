/**
 * `npm run simulate`: several Hearths exchange random events over a bad network, and must agree in the end
 * (test/support/simulator/simulation.ts).
 *
 *     npm run simulate -- --seeds 1000 --versions 1-12 --servers 3 --events 60
 *     npm run simulate -- --versions 11 --seed 42
 *
 * Ends with 1 when servers disagreed. What is needed to look into it is written to --save: the PDUs of the room and the
 * order in which each server took them.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { complaintOf, openServers, type Report, simulateAll } from '../../test/support/simulator/run.js'
import type { SimulationOptions } from '../../test/support/simulator/simulation.js'
import { startTestPostgres } from '../../test/support/test-cluster.js'
import { Progress } from '../bench/progress.js'

interface Options {
  readonly seeds: number
  readonly seed?: number
  readonly versions: readonly string[]
  readonly servers: number
  readonly events: number
  readonly atOnce: number
  readonly oracle: boolean
  readonly honest: boolean
  readonly json: boolean
  readonly save: string
}

function whole(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('a whole number is needed')
}

/** `1-12`, `2,11`. */
function versionList(text: string): string[] {
  const versions = text.split(',').flatMap((part) => {
    const [, first, last] = /^(\d+)-(\d+)$/.exec(part) ?? []
    if (first === undefined || last === undefined) return [part]
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => String(Number(first) + index))
  })
  const unknown = versions.find((version) => !roomVersionNames.includes(version))
  if (unknown !== undefined) throw new InvalidArgumentError(`there is no room version ${unknown}`)
  return versions
}

/** What came of the rooms of one version. */
class Tally {
  rooms = 0
  disagreed = 0
  events = 0
  refused = 0
  rejected = 0
  softFailed = 0
  torn = 0
  merges = 0
  private readonly started = performance.now()

  constructor(readonly version: string) {}

  count(report: Report): void {
    this.rooms++
    if (complaintOf(report) !== undefined) this.disagreed++
    if (!('outcome' in report)) return
    this.events += report.outcome.events
    this.refused += report.outcome.refused
    this.rejected += report.outcome.rejected
    this.softFailed += report.outcome.softFailed
    this.merges += report.outcome.merges
    if (report.outcome.torn) this.torn++
  }

  get result() {
    const { version, rooms, disagreed, torn, events, refused, rejected, softFailed, merges, started } = this
    const seconds = Math.round((performance.now() - started) / 100) / 10
    return { version, rooms, disagreed, torn, events, refused, rejected, soft_failed: softFailed, merges, seconds }
  }

  toString(): string {
    const { version, rooms, disagreed, torn, events, rejected, soft_failed, merges, seconds } = this.result
    const fates = `${rejected} rejected, ${soft_failed} soft-failed, ${merges} merges`
    return `version ${version}: ${rooms} rooms, ${disagreed} disagreed, ${torn} torn; ${events} events, ${fates}; ${seconds} s`
  }
}

async function simulateVersion(version: string, options: Options, progress: Progress): Promise<Tally> {
  const tally = new Tally(version)
  const servers = await openServers(options.servers)
  try {
    for await (const report of simulateAll(servers, roomsOf(version, options), options.atOnce)) {
      tally.count(report)
      progress.show(tally.toString())
      complain(report, options, progress)
    }
  } finally {
    await servers.close()
  }
  progress.clear()
  if (!options.json) console.log(tally.toString())
  return tally
}

function* roomsOf(version: string, { seeds, seed, events, oracle, honest }: Options): Generator<SimulationOptions> {
  if (seed !== undefined) return yield { seed, version, events, oracle, rogue: !honest }
  for (let seed = 1; seed <= seeds; seed++) yield { seed, version, events, oracle, rogue: !honest }
}

function complain(report: Report, { save }: Options, progress: Progress): void {
  const complaint = complaintOf(report)
  if (complaint === undefined) return
  progress.clear()
  console.error(complaint)
  if (!('outcome' in report)) return
  const { seed, version } = report.outcome
  mkdirSync(save, { recursive: true })
  const file = join(save, `v${version}-seed${seed}.json`)
  writeFileSync(file, JSON.stringify(report.outcome, undefined, 1))
  console.error(`  ${file}`)
}

const number = (flags: string, description: string, standard: number) =>
  new Option(flags, description).default(standard).argParser(whole)

const program = new Command('simulate')
  .description('Several Hearths exchange random events over a bad network, and must agree in the end')
  .addOption(number('--seeds <n>', 'rooms of each version, with the seeds 1 to n', 100))
  .option('--seed <n>', 'one room of each version, with this seed', whole)
  .addOption(
    new Option('--versions <list>', 'as 1-12 or 2,11').argParser(versionList).default(roomVersionNames, '1-12'),
  )
  .addOption(number('--servers <n>', 'servers in each room', 3))
  .addOption(number('--events <n>', 'events that users make in each room', 60))
  .addOption(number('--at-once <n>', 'rooms simulated at a time', 40))
  .option('--oracle', 'also hold each room against the naive resolver', false)
  .option('--honest', 'without the rogue server, whose events break the rules', false)
  .option('--json', 'print the figures as JSON', false)
  .option('--save <folder>', 'where rooms that failed are written', join('data', 'simulate'))
  .parse()

const options = program.opts<Options>()
const postgres = await startTestPostgres()
try {
  const tallies: Tally[] = []
  for (const version of options.versions) tallies.push(await simulateVersion(version, options, new Progress()))
  if (options.json) console.log(JSON.stringify(tallies.map(({ result }) => result)))
  if (tallies.some(({ disagreed }) => disagreed > 0)) process.exitCode = 1
} finally {
  await postgres.stop()
}
