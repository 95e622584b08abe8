/**
 * `inbound`: events of other servers, at hand and their signatures checked, each on the one before: how many a second are
 * judged and durable. Straight on a Postgres of its own, with the settings of one that a server starts: no target.
 */

import { makeDatabase } from '../../../test/support/make-database.js'
import { testRooms } from '../../../test/support/rooms.js'
import { startTestPostgres } from '../../../test/support/test-cluster.js'
import type { RoomName } from '../../../src/store/room-names.js'
import { adopt, settle, take, timed, type Costs } from '../../room-costs/costs.js'
import { Line } from '../../room-costs/events.js'
import { ErrorLog } from '../errors.js'
import type { Subject } from '../rounds.js'
import type { Column, Scenario } from '../scenario.js'
import { quotient, type Figures } from '../stats.js'

export interface InboundOptions {
  /** Of the subject with many rooms. */
  readonly rooms: number
  /** In a round, over all rooms. */
  readonly events: number
}

const columns: Column[] = [
  { key: 'rate', title: 'events/s', digits: 0 },
  { key: 'cpu', title: 'CPU µs/event', digits: 0 },
]

export const inbound: Scenario<InboundOptions> = {
  name: 'inbound',
  columns,
  needsNoTarget: true,
  async prepare({ options: { rooms, events } }) {
    const cluster = await startTestPostgres({ durable: true })
    // Closed in reverse: the cluster last.
    return [
      await inboundSubject('one room', 1, events, () => cluster.stop()),
      await inboundSubject(`${rooms} rooms`, rooms, events),
    ]
  },
}

interface Held {
  readonly name: RoomName
  readonly line: Line
}

async function inboundSubject(
  name: string,
  count: number,
  events: number,
  afterwards?: () => Promise<void>,
): Promise<Subject> {
  const database = await makeDatabase()
  const engine = await testRooms(database, { cacheMb: 256 })
  const costs = { engine, database }
  const rooms = await Promise.all(Array.from({ length: count }, () => heldRoom(costs)))
  const round = () => inboundRound(costs, rooms, Math.ceil(events / count))
  const close = async () => {
    await engine.close()
    await database.drop()
    await afterwards?.()
  }
  return { name, errors: new ErrorLog(), warmUp: round, round, close }
}

async function heldRoom(costs: Costs): Promise<Held> {
  const { line, arrivals } = Line.begin()
  const name = await adopt(costs, arrivals)
  await take(costs, name, arrivals.slice(1))
  return { name, line }
}

async function inboundRound(costs: Costs, rooms: readonly Held[], each: number): Promise<Figures> {
  const batches = rooms.map(({ line }) => Array.from({ length: each }, () => line.say()))
  const before = process.cpuUsage()
  const milliseconds = await timed(async () => {
    await Promise.all(rooms.map(({ name }, i) => take(costs, name, batches[i]!)))
  })
  const { user, system } = process.cpuUsage(before)
  await settle(costs)
  const events = each * rooms.length
  return { rate: (events * 1_000) / milliseconds, cpu: quotient(user + system, events) }
}
