/** What an event that stands on two branches writes. */
import { afterAll, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { RoomName } from '../../src/store/room-names.js'
import { alice, bob, labRoom, type Branch, type LabEvent } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

const arrivalsOf = (events: readonly LabEvent[]) =>
  events.map(({ event, text }) => ({ event, text, kind: 'live' as const }))

async function take({ rooms }: RoomEngine, name: RoomName, events: readonly LabEvent[]): Promise<void> {
  for (const result of await rooms.receiveAll(name, arrivalsOf(events))) {
    if (result.status === 'rejected') throw result.reason
  }
}

async function bytesOfStates({ room }: RoomName): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    select sum(length(body))::int as bytes from state_segment where room = ${room}
  `.execute(database.db)
  return rows[0]!.bytes
}

/** Bytes of states that the merge of two branches of a hundred changes each writes. */
async function writtenBy(merging: RoomEngine, room: string): Promise<number> {
  const lab = labRoom({ version: '11', name: room, members: [bob], levels: { users: { [bob]: 50 } } })
  const [left, right] = lab.fork() as [Branch, Branch]
  for (let i = 0; i < 100; i++) {
    left.event(alice, { type: 'org.example', stateKey: `left ${i}` })
    right.event(bob, { type: 'org.example', stateKey: `right ${i}` })
  }
  const apart = [...lab.events]
  const name = await engine.rooms.adopt(arrivalsOf(apart)[0]!, '11')
  await take(engine, name, apart.slice(1))
  const before = await bytesOfStates(name)
  lab.merge(left, right).say(alice, 'both')
  await take(merging, name, lab.events.slice(apart.length))
  return (await bytesOfStates(name)) - before
}

it('a state that the room had before is not written again by a merge', async () => {
  expect(await writtenBy(engine, 'warm')).toBe(0)
})

it('the state that a merge makes is written once, however much of the room had to be loaded for it', async () => {
  const cold = await testRooms(database)
  try {
    // A hundred entries of nine bytes, as many that stand beside them, and what stands above.
    expect(await writtenBy(cold, 'cold')).toBeLessThan(3_000)
  } finally {
    await cold.close()
  }
})
