import { afterAll, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../src/store/facts.js'
import { RoomSummaries } from '../../src/sync/room-summaries.js'
import { testDatabase } from '../support/postgres.js'
import { join, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
/** Set: rows of members are read, and come to who asked for them when this is over. */
let held: { readonly isRead: () => void; readonly release: Promise<void> } | undefined
database.pool.on('connect', (client) => {
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
  client.query = ((...args: unknown[]) => {
    const result = query(...args)
    const text = typeof args[0] === 'string' ? args[0] : (args[0] as { text: string }).text
    if (held === undefined || !/from membership/.test(text) || !/limit/.test(text)) return result
    const { isRead, release } = held
    return result.then(async (rows) => {
      isRead()
      await release
      return rows
    })
  }) as typeof client.query
})

const engine = await testRooms(database)
afterAll(() => engine.close())
const [alice, bob] = [user('alice'), user('bob')]

describe('the heroes of a room', () => {
  it('are those who are there, also when they came while the members were read', async () => {
    const room = await testRoom(engine, alice)
    const summaries = new RoomSummaries(engine.stores, engine.rooms)
    engine.log.subscribe((facts: readonly Fact[]) => facts.forEach((fact) => summaries.follow(fact)))
    let release!: () => void
    const isRead = new Promise<void>((resolve) => {
      held = { isRead: resolve, release: new Promise((resolve) => (release = resolve)) }
    })
    const before = summaries.of(room, alice)
    await isRead
    held = undefined
    await join(engine, room, bob)
    release()
    expect((await before).heroes).toEqual([])
    expect((await summaries.of(room, alice)).heroes).toEqual([bob])
  })
})
