/** What states cost on disk in a room that forks and merges all the time. */
import { sql } from 'kysely'
import { alice } from '../../test/support/laboratory/index.js'
import type { Arrival } from '../../src/room/arrival.js'
import { adopt, settle, take, type Costs } from './costs.js'
import { Line } from './events.js'

const MEMBERS = 10_000
const ROUNDS = 1_000

/** Of ten events, four on each of two branches of which two are state events, one binds them together, one sets a topic. */
export async function forkAndMerge(costs: Costs): Promise<string> {
  const { line, arrivals } = Line.begin()
  const people = Array.from({ length: MEMBERS }, (_, i) => `@user${i}:three.example`)
  for (const user of people) arrivals.push(line.add(user, 'm.room.member', { membership: 'join' }, user))
  const name = await adopt(costs, arrivals)
  await take(costs, name, arrivals.slice(1), 2_000)
  await settle(costs)
  const before = await bytesOfStates(costs)
  for (let round = 0; round < ROUNDS; round += 10) {
    const events = Array.from({ length: 10 }, (_, i) => tenEvents(line, people, round + i)).flat()
    await take(costs, name, events, 100)
  }
  const each = ((await bytesOfStates(costs)) - before) / (ROUNDS * 10)
  return `${Math.round(each)} bytes of states an event`
}

function tenEvents(line: Line, people: readonly string[], round: number): Arrival[] {
  const other = line.fork()
  const profile = (branch: Line, i: number) => {
    const user = people[(round * 4 + i) % people.length]!
    return branch.add(user, 'm.room.member', { membership: 'join', displayname: `${round}` }, user)
  }
  const left = [profile(line, 0), line.say(), profile(line, 1), line.say()]
  const right = [profile(other, 2), other.say(), profile(other, 3), other.say()]
  line.merge(other)
  return [...left, ...right, line.say(), line.add(alice, 'm.room.topic', { topic: `${round}` }, '')]
}

async function bytesOfStates({ database }: Costs): Promise<number> {
  await sql`checkpoint`.execute(database.db)
  const { rows } = await sql<{ bytes: number }>`
    select pg_total_relation_size('state_segment') + pg_total_relation_size('state_change') as bytes
  `.execute(database.db)
  return rows[0]!.bytes
}
