import { afterAll, describe, expect, it } from '@jest/globals'
import { entries } from '../../src/protocol/state-trie.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { RoomName } from '../../src/store/room-names.js'
import { keyOf } from '../support/laboratory/index.js'
import { feed } from '../support/laboratory/feed.js'
import { eventsOf, judgedRoomOf, readRoomFile, roomFileNames, type RoomFile } from '../support/laboratory/room-file.js'
import { makeDatabase } from '../support/make-database.js'
import { testRooms } from '../support/rooms.js'
import { Random } from '../support/simulator/random.js'

const orders = 4

/** A database for each order: all rooms of the files are in it. */
const engines = await Promise.all(
  Array.from({ length: orders }, async () => {
    const database = await makeDatabase()
    return { database, engine: await testRooms(database) }
  }),
)
afterAll(async () => {
  for (const { database, engine } of engines) {
    await engine.close()
    await database.drop()
  }
})

const files = roomFileNames().map((name) => ({ name, file: readRoomFile(name) }))

/** The first order is that of the file, the second its reverse. */
function ordered<T>(items: readonly T[], order: number): T[] {
  if (order === 0) return [...items]
  return order === 1 ? items.toReversed() : new Random(order).shuffled(items)
}

async function outcomeOf(engine: RoomEngine, { room }: RoomName): Promise<object> {
  const { stores } = engine
  const rows = await stores.db.selectFrom('event').selectAll().where('room', '=', room).execute()
  const head = await stores.db.selectFrom('room').selectAll().where('room', '=', room).executeTakeFirstOrThrow()
  const idOf = (number: number) => rows.find(({ event }) => event === number)!.event_id
  const state = await stores.states.work(room, (segments) => entries(segments, head.state))
  return {
    forward_extremities: head.forward_extremities.map(idOf).sort(),
    state: state.map(([, number]) => idOf(number)).sort(),
    rejected: rows.filter(({ fate }) => fate === 2).map((row) => row.event_id).sort(), // prettier-ignore
    redacted: rows.filter((row) => row.redacted_by !== null).map((row) => row.event_id).sort(), // prettier-ignore
  }
}

const expectedOf = ({ forward_extremities, state, rejected, redacted }: RoomFile): object => ({
  forward_extremities,
  state: state.map(([, , eventId]) => eventId).sort(),
  rejected: [...rejected].sort(),
  redacted: [...redacted].sort(),
})

describe.each(files)('$name: $file.description', ({ file }) => {
  it('is what the naive resolver makes of it', () => {
    const judged = judgedRoomOf(file)
    const state = judged.stateAfter(file.forward_extremities)
    expect(state).toEqual(new Map(file.state.map(([type, key, eventId]) => [keyOf(type, key), eventId])))
    const rejected = judged.all.filter(({ verdict }) => !verdict.allowed).map(({ eventId }) => eventId)
    expect(rejected).toEqual(file.rejected)
  })

  it.each(Array.from({ length: orders }, (_, order) => order))('comes out so in order %i', async (order) => {
    const { engine } = engines[order]!
    const room = await feed(engine, file, ordered(eventsOf(file), order))
    expect(await outcomeOf(engine, room)).toEqual(expectedOf(file))
  })
})
