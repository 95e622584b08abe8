import { afterAll, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import type { RoomName } from '../../src/store/room-names.js'
import { testDatabase } from '../support/postgres.js'
import { testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { acls, rooms } = engine
afterAll(() => engine.close())
const alice = user('alice')

const setAcl = (room: RoomName, content: JsonObject) =>
  rooms.send(room, { type: 'm.room.server_acl', stateKey: '', sender: alice, content })
const allowed = (room: RoomName) =>
  Promise.all(['good.example', 'evil.example'].map((server) => acls.allows(room, server)))

it('without one a room lets everybody take part', async () => {
  const room = await testRoom(engine, alice)
  expect(await allowed(room)).toEqual([true, true])
  await expect(acls.require(room, 'evil.example')).resolves.toBeUndefined()
})

it('the current one of a room counts, and of that room alone', async () => {
  const [room, other] = [await testRoom(engine, alice), await testRoom(engine, alice)]
  await setAcl(room, { allow: ['*'], deny: ['evil.example'] })
  expect(await allowed(room)).toEqual([true, false])
  expect(await allowed(other)).toEqual([true, true])
  await expect(acls.require(room, 'evil.example')).rejects.toMatchObject({ status: 403, errcode: 'M_FORBIDDEN' })
  await setAcl(room, { allow: ['evil.*'] })
  expect(await allowed(room)).toEqual([false, true])
})

it('what is left of one that is redacted counts', async () => {
  // Nothing stays, and with it goes whoever was allowed.
  const room = await testRoom(engine, alice, '10')
  const { event } = await setAcl(room, { allow: ['*'] })
  expect(await allowed(room)).toEqual([true, true])
  await rooms.send(room, { type: 'm.room.redaction', sender: alice, content: {}, redacts: event.eventId })
  expect(await allowed(room)).toEqual([false, false])
})
