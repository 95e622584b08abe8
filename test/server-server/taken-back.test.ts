/** Invites and knocks that end while the server of whom they are about is not in the room. */
import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { signRequest } from '../../src/protocol/x-matrix.js'
import { eventually } from '../support/eventually.js'
import { startFederation, type FederatedServer } from '../support/federation.js'
import type { TestUser } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'

const [one, two, three] = await startFederation(3)
const alice = await one!.user('alice')
const bob = await two!.user('bob')
const v3 = '/_matrix/client/v3'

const act = (user: TestUser, roomId: string, action: string, body: object = {}) =>
  user.ok('POST', `${v3}/rooms/${encodeURIComponent(roomId)}/${action}`, body)
const setState = (user: TestUser, roomId: string, type: string, content: object) =>
  user.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/${type}/`, content)
const inSync = (user: TestUser, section: string, roomId: string, since?: string) =>
  eventually(`${roomId} is in ${section}`, async () => (await user.sync({ since })).rooms?.[section]?.[roomId])
const membershipOf = async (user: TestUser, roomId: string, of: TestUser): Promise<string> =>
  (await user.get(`${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${of.userId}`)).body.membership

/** The newest event of Alice's server about Bob, as a PDU. */
async function membershipEvent(roomId: string): Promise<JsonObject> {
  const { rooms } = one!.services
  return (await rooms.currentState(await rooms.named(roomId), 'm.room.member', bob.userId))!.event.pdu as JsonObject
}

let transactions = 0

/** A transaction of that server with this PDU, for Bob's. */
async function sendFrom({ name: origin, key }: FederatedServer, pdu: JsonObject): Promise<void> {
  const content = { origin, origin_server_ts: Date.now(), pdus: [pdu] }
  const uri = `/_matrix/federation/v1/send/taken-back-${++transactions}`
  const headers = { Authorization: signRequest({ method: 'PUT', uri, origin, destination: two!.name, content }, key) }
  expect((await new TestClient(two!.baseUrl).put(uri, content, { headers })).status).toBe(200)
}

async function invited(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] })
  await inSync(bob, 'invite', roomId)
  return roomId
}

async function knocked(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'private_chat' })
  await setState(alice, roomId, 'm.room.join_rules', { join_rule: 'knock' })
  await bob.ok('POST', `${v3}/knock/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
  await inSync(bob, 'knock', roomId)
  return roomId
}

describe('an invite to a user of another server', () => {
  it.each(['kick', 'ban'])('is gone there after a %s', async (action) => {
    const roomId = await invited()
    const since = await bob.syncToken()
    await act(alice, roomId, action, { user_id: bob.userId })
    await inSync(bob, 'leave', roomId, since)
    expect((await bob.sync()).rooms?.invite?.[roomId]).toBeUndefined()
  })

  it('can be made again, and taken', async () => {
    const roomId = await invited()
    const since = await bob.syncToken()
    await act(alice, roomId, 'kick', { user_id: bob.userId })
    await inSync(bob, 'leave', roomId, since)
    await act(alice, roomId, 'invite', { user_id: bob.userId })
    await inSync(bob, 'invite', roomId)
    await bob.join(roomId)
    expect(await membershipOf(bob, roomId, bob)).toBe('join')
  })

  it('is not taken back by a server that has nothing to do with it', async () => {
    const roomId = await invited()
    const event = (sender: string) => ({
      ...{ type: 'm.room.member', room_id: roomId, sender, state_key: bob.userId, content: { membership: 'leave' } },
      ...{ origin_server_ts: Date.now(), depth: 9, prev_events: [], auth_events: [], hashes: {}, signatures: {} },
    })
    for (const sender of [`@eve:${three!.name}`, alice.userId]) await sendFrom(three!, event(sender))
    expect((await bob.sync()).rooms.invite[roomId]).toBeDefined()
  })

  it('is not taken back by a kick that ended an invite before it', async () => {
    const roomId = await invited()
    const since = await bob.syncToken()
    await act(alice, roomId, 'kick', { user_id: bob.userId })
    await inSync(bob, 'leave', roomId, since)
    const kick = await membershipEvent(roomId)
    await act(alice, roomId, 'invite', { user_id: bob.userId })
    await inSync(bob, 'invite', roomId)
    await sendFrom(one!, kick)
    expect((await bob.sync()).rooms.invite?.[roomId]).toBeDefined()
    await act(alice, roomId, 'kick', { user_id: bob.userId })
    await eventually('it is taken back', async () => !(await bob.sync()).rooms?.invite?.[roomId])
  })
})

describe('a knock on a room of another server', () => {
  it.each(['kick', 'ban'])('is gone after a %s', async (action) => {
    const roomId = await knocked()
    const since = await bob.syncToken()
    await act(alice, roomId, action, { user_id: bob.userId })
    await inSync(bob, 'leave', roomId, since)
    expect((await bob.sync()).rooms?.knock?.[roomId]).toBeUndefined()
  })

  it('is taken back in the room, too, where the room id names no server', async () => {
    const roomId = await knocked()
    await act(bob, roomId, 'leave')
    await eventually('alice hears of it', async () => (await membershipOf(alice, roomId, bob)) === 'leave')
  })
})
