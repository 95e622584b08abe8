import { afterAll, describe, expect, it } from '@jest/globals'
import { membershipIn } from '../../src/store/memberships.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { testDatabase } from '../support/postgres.js'
import { testRoom, testRooms, user } from '../support/rooms.js'
import { testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms } = engine
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})
const [alice, bob] = [user('alice'), user('bob')]

const redact = (room: RoomName, { event: { eventId: redacts } }: StoredEvent) =>
  rooms.send(room, { type: 'm.room.redaction', sender: alice, content: { redacts }, redacts })

describe('an open invite', () => {
  it('says nothing any more of what was redacted since, in no database and to no client', async () => {
    const room = await testRoom(engine, alice)
    const set = (type: string, content: object) =>
      rooms.send(room, { type, stateKey: '', sender: alice, content: { ...content } })
    const name = await set('m.room.name', { z: 1, name: 'a "secret"\u0000 name', a: 2 })
    const topic = await set('m.room.topic', { topic: 'a secret topic' })
    await rooms.changeMembership(room, alice, bob, { membership: 'invite' })
    const device = new TestDevice(sync, 'bob')
    const shown = async () => (await new TestDevice(sync, 'bob').next()).rooms.invite[room.roomId].invite_state.events
    expect((await device.next()).rooms.invite[room.roomId].invite_state.events).toEqual(await shown())
    expect(JSON.stringify(await shown())).toMatch(/secret.*secret/)
    // At once, so that they may be written together.
    await Promise.all([redact(room, name), redact(room, topic)])
    const events: { type: string; content: object }[] = await shown()
    expect(JSON.stringify(events)).not.toContain('secret')
    for (const type of ['m.room.name', 'm.room.topic'])
      expect(events.find((event) => event.type === type)).toEqual({ type, state_key: '', sender: alice, content: {} })
    expect(events.find(({ type }) => type === 'm.room.join_rules')).toMatchObject({ content: { join_rule: 'public' } })
    expect((await membershipIn(database.db, room.room, bob))?.strippedState).not.toContain('secret')
  })
})
