import { afterAll, describe, expect, it } from '@jest/globals'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

describe('an initial sync', () => {
  it('shows the rooms of a user with their state and newest events', async () => {
    const room = await testRoom(engine, user('alice'))
    await say(engine, room, user('alice'), 'hello')
    const alice = new TestDevice(sync, 'alice')
    const answer = await alice.next()
    const shown = answer.rooms.join[room.roomId]
    expect(bodies(shown)).toEqual(['hello'])
    expect(shown.timeline.limited).toBe(false)
    expect(shown.state.events).toEqual([])
    expect(shown.summary).toEqual({ 'm.joined_member_count': 1, 'm.invited_member_count': 0, 'm.heroes': [] })
    expect(answer.device_one_time_keys_count).toEqual({ signed_curve25519: 0 })
    expect(answer.account_data.events[0].type).toBe('m.push_rules')
  })

  it('is followed by what happened since, and by nothing twice', async () => {
    const room = await testRoom(engine, user('bob'))
    const bob = new TestDevice(sync, 'bob')
    await bob.next()
    expect((await bob.next()).rooms).toBeUndefined()
    await say(engine, room, user('bob'), 'one')
    await say(engine, room, user('bob'), 'two')
    expect(bodies((await bob.next()).rooms.join[room.roomId])).toEqual(['one', 'two'])
    expect((await bob.next()).rooms).toBeUndefined()
    await join(engine, room, user('carol'))
    const answer = await bob.next()
    expect(answer.rooms.join[room.roomId].summary['m.joined_member_count']).toBe(2)
    expect(answer.device_lists.changed).toEqual([user('carol')])
  })
})
