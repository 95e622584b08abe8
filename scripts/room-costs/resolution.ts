/** One event that stands on two branches: the time until it is durable, resolution included. */
import pg from 'pg'
import { testRooms } from '../../test/support/rooms.js'
import { alice } from '../../test/support/laboratory/index.js'
import type { Arrival } from '../../src/room/arrival.js'
import type { Position } from '../../src/protocol/numbers.js'
import type { RoomName } from '../../src/store/room-names.js'
import { adopt, settle, take, timed, type Costs } from './costs.js'
import { Line } from './events.js'

const bob = '@bob:two.example'
const users = (count: number) => Array.from({ length: count }, (_, i) => `@user${i}:three.example`)
const member = (membership: string) => ({ membership })

/** Each branch changes power levels a hundred times and puts 900 members out. */
export async function manyConflicts(costs: Costs): Promise<string> {
  const { line, arrivals } = Line.begin({ users: { [alice]: 100, [bob]: 99 }, kick: 50 })
  const people = users(900)
  for (const user of [bob, ...people]) arrivals.push(line.add(user, 'm.room.member', member('join'), user))
  const branches = [
    [line.fork(), alice, 'ban'],
    [line.fork(), bob, 'leave'],
  ] as const
  const changes = branches.map(([branch, sender, membership]) =>
    Array.from({ length: 1_000 }, (_, i) =>
      i % 10 === 0
        ? branch.add(sender, 'm.room.power_levels', { users: { [alice]: 100, [bob]: 99 }, events: { x: i / 10 } }, '')
        : branch.add(sender, 'm.room.member', member(membership), people[i - Math.ceil(i / 10)]!),
    ),
  )
  return merged(costs, arrivals, changes as [Arrival[], Arrival[]], branches[0][0], branches[1][0])
}

/** A hundred keys that differ in a room of 50,000 members, resolved by a process that has nothing in memory. */
export async function largeRoom(costs: Costs): Promise<string> {
  const { line, arrivals } = Line.begin({ users: { [alice]: 100, [bob]: 100 } })
  for (const user of [bob, ...users(50_000)]) arrivals.push(line.add(user, 'm.room.member', member('join'), user))
  const branches = [line.fork(), line.fork()] as const
  const changes = branches.map((branch, side) =>
    Array.from({ length: 100 }, (_, i) =>
      branch.add(side === 0 ? alice : bob, 'org.example.state', { side }, `key ${i}`),
    ),
  )
  return merged(costs, arrivals, changes as [Arrival[], Arrival[]], ...branches)
}

/** Two branches arrive at once, event by event, each tenth a state event; then one event binds them together. */
export async function healing(costs: Costs): Promise<string> {
  const people = users(100)
  const { line, arrivals } = Line.begin({ users: { [alice]: 100, [bob]: 99 } })
  for (const user of [bob, ...people]) arrivals.push(line.add(user, 'm.room.member', member('join'), user))
  const name = await adopt(costs, arrivals)
  await take(costs, name, arrivals.slice(1))
  await settle(costs)
  const branches = [line.fork(), line.fork()] as const
  const interleaved = Array.from({ length: 1_000 }, (_, i) =>
    branches.map((branch, side) => stepOf(branch, side === 0 ? alice : bob, i, people)),
  ).flat()
  const held = heldLongest()
  const ms = await timed(() => take(costs, name, interleaved))
  branches[0].merge(branches[1])
  const merge = await timed(() => take(costs, name, [branches[0].say(alice)]))
  const each = `${(ms / interleaved.length).toFixed(1)} ms each`
  return `${(ms / 1000).toFixed(1)} s (${each}), the merge ${Math.round(merge)} ms, event loop held ${held()} ms`
}

function stepOf(branch: Line, sender: string, i: number, people: readonly string[]): Arrival {
  const target = people[(i / 10) % people.length]!
  if (i % 100 === 0) {
    return branch.add(sender, 'm.room.power_levels', { users: { [alice]: 100, [bob]: 99 }, events: { x: i / 100 } }, '')
  }
  if (i % 20 === 0) return branch.add(sender, 'm.room.member', member(sender === alice ? 'ban' : 'leave'), target)
  return i % 10 === 0 ? branch.add(sender, 'org.example.state', { i }, `key ${i}`) : branch.say(sender)
}

async function merged(
  costs: Costs,
  arrivals: readonly Arrival[],
  [left, right]: readonly [Arrival[], Arrival[]],
  ...[branch, other]: [Line, Line]
): Promise<string> {
  const name = await adopt(costs, arrivals)
  await take(costs, name, arrivals.slice(1), 2_000)
  await settle(costs)
  await take(costs, name, left)
  await asHistory(costs, name, right)
  await settle(costs)
  branch.merge(other)
  const merge = branch.say(alice)
  const cold = await testRooms(costs.database, { cacheMb: 256 })
  const before = connections.bytes()
  const held = heldLongest()
  const ms = await timed(() => take({ ...costs, engine: cold }, name, [merge]))
  const figure = `${Math.round(ms)} ms, ${Math.round((connections.bytes() - before) / 1024)} KB read, event loop held ${held()} ms`
  await cold.close()
  return figure
}

/** Without moving the head: the branches are resolved once, by the event that stands on both. */
async function asHistory(costs: Costs, name: RoomName, arrivals: readonly Arrival[]): Promise<void> {
  const history = arrivals.map((arrival, i) => ({
    ...arrival,
    kind: 'history' as const,
    place: { anchor: 1 as Position, minor: i - arrivals.length },
  }))
  await take(costs, name, history)
}

/** Bytes that came from Postgres on all connections. */
class Connections {
  private readonly clients = new Set<pg.Client>()

  constructor() {
    const { clients } = this
    const { query } = pg.Client.prototype
    pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
      clients.add(this)
      return (query as (...args: unknown[]) => unknown).apply(this, args)
    } as typeof query
  }

  bytes(): number {
    let sum = 0
    for (const client of this.clients) {
      sum += (client as unknown as { connection: { stream: { bytesRead: number } } }).connection.stream.bytesRead
    }
    return sum
  }
}

/** Made before the first connection is. */
const connections = new Connections()

/** How long nothing else could happen, at most. */
function heldLongest(): () => number {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 5)
    last = now
  }, 5)
  return () => {
    clearInterval(timer)
    return Math.round(longest)
  }
}
