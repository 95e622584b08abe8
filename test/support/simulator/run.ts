/** Many simulated rooms on the same servers: rooms that are simulated at a time share commits. */
import { hash } from 'node:crypto'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { labServer } from '../laboratory/index.js'
import { makeDatabase } from '../make-database.js'
import { testRooms } from '../rooms.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { type Outcome, simulate, type SimulationOptions } from './simulation.js'

export interface SimulatedServers {
  readonly engines: readonly RoomEngine[]
  close(): Promise<void>
}

/** Ids that follow from the event, as those of later versions do: a seed gives the same room each time. */
const idOfContent = (pdu: JsonObject): string => hash('sha256', canonicalJson(pdu), 'hex').slice(0, 24)

/** So many Hearths, each with a name, a key and a database of its own. */
export async function openServers(count: number): Promise<SimulatedServers> {
  const opened = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const database = await makeDatabase()
      const server = labServer(`s${index}.example`)
      // The machine may be busy with other things for as long as it likes.
      const engine = await testRooms(database, { patience: 600_000, server, opaqueId: idOfContent, isAlone: true })
      return { database, engine }
    }),
  )
  return {
    engines: opened.map(({ engine }) => engine),
    async close() {
      for (const { database, engine } of opened) {
        await engine.close()
        await database.drop()
      }
    },
  }
}

/** What went wrong while a room was simulated, or how it ended. */
export type Report = { readonly outcome: Outcome } | { readonly failure: unknown; readonly options: SimulationOptions }

export async function* simulateAll(
  { engines }: SimulatedServers,
  rooms: Iterable<SimulationOptions>,
  atOnce: number,
): AsyncGenerator<Report> {
  const running = new Map<number, Promise<{ index: number; report: Report }>>()
  let index = 0
  for (const options of rooms) {
    const at = index++
    running.set(
      at,
      report(engines, options).then((report) => ({ index: at, report })),
    )
    if (running.size >= atOnce) yield await next(running)
  }
  while (running.size > 0) yield await next(running)
}

async function next(running: Map<number, Promise<{ index: number; report: Report }>>): Promise<Report> {
  const { index, report } = await Promise.race(running.values())
  running.delete(index)
  return report
}

async function report(engines: readonly RoomEngine[], options: SimulationOptions): Promise<Report> {
  try {
    return { outcome: await simulate(engines, options) }
  } catch (failure) {
    return { failure, options }
  }
}

/** Sentences that say what is wrong with a room, the seed first; undefined when nothing is. */
export function complaintOf(report: Report): string | undefined {
  if ('failure' in report) {
    const { options, failure } = report
    return `${nameOf(options)}: ${failure instanceof Error ? failure.stack : String(failure)}`
  }
  const { outcome } = report
  if (outcome.differences.length === 0) return undefined
  const shown = outcome.differences.slice(0, 8).join('\n  ')
  return `${nameOf(outcome)}: ${outcome.differences.length} differences\n  ${shown}`
}

const nameOf = ({ version, seed }: { version: string; seed: number }): string => `room version ${version}, seed ${seed}`
