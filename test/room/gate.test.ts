import { afterAll, describe, expect, it } from '@jest/globals'
import { testDatabase } from '../support/postgres.js'
import { join, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const [alice, bob, carol] = [user('alice'), user('bob'), user('carol')]

describe('the state of a room in the past', () => {
  it('is for who was in it then, or joined since, and not for everybody where all may read only now', async () => {
    const room = await testRoom(engine, alice)
    const then = engine.log.published
    await engine.rooms.send(room, {
      type: 'm.room.history_visibility',
      stateKey: '',
      sender: alice,
      content: { history_visibility: 'world_readable' },
    })
    const now = engine.log.published
    await join(engine, room, carol)
    const refused = { errcode: 'M_FORBIDDEN' }
    await expect(engine.gate.stateAt(room, bob, then)).rejects.toMatchObject(refused)
    expect(await engine.gate.stateAt(room, bob, now)).toBeDefined()
    expect(await engine.gate.stateAt(room, alice, then)).toBeDefined()
    expect(await engine.gate.stateAt(room, carol, then)).toBeDefined()
    await engine.rooms.changeMembership(room, carol, carol, { membership: 'leave' })
    const left = engine.log.published
    expect(await engine.gate.stateAt(room, carol, then)).toBeDefined()
    await engine.rooms.send(room, {
      type: 'm.room.history_visibility',
      stateKey: '',
      sender: alice,
      content: { history_visibility: 'shared' },
    })
    // What came after their leaving is not theirs: they get the state as they left it.
    const last = await engine.gate.stateAt(room, carol, engine.log.published)
    expect(last).toBe(await engine.gate.stateAt(room, alice, left))
  })
})
