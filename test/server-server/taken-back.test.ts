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

  it.each([
    ['kick', 'leave'],
    ['ban', 'ban'],
  ])('ends for its user with an event of who made the %s, the same in each sync', async (action, membership) => {
    const roomId = await invited()
    const since = await bob.syncToken()
    await act(alice, roomId, action, { user_id: bob.userId, reason: 'by mistake' })
    const { timeline, state } = await inSync(bob, 'leave', roomId, since)
    const { events } = timeline
    expect(events).toEqual([
      {
        ...{ type: 'm.room.member', state_key: bob.userId, sender: alice.userId },
        ...{ content: { membership, reason: 'by mistake' } },
        ...{ event_id: expect.stringMatching(/^\$/), origin_server_ts: expect.any(Number) },
      },
    ])
    expect(state.events).toEqual([])
    const again = (await bob.sync({ since, use_state_after: true })).rooms.leave[roomId]
    expect(again).toMatchObject({ timeline: { events }, state_after: { events } })
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

describe('a user who takes back what they asked for, or does not want what they were offered', () => {
  it.each([
    ['an invite', invited],
    ['a knock', knocked],
  ])('is told by an event that %s is gone, as who made it says why', async (_what, begin) => {
    const roomId = await begin()
    const since = await bob.syncToken()
    await act(bob, roomId, 'leave', { reason: 'no time' })
    const event = { type: 'm.room.member', state_key: bob.userId, sender: bob.userId }
    const told = { events: [{ ...event, content: { membership: 'leave', reason: 'no time' } }] }
    expect((await bob.sync({ since })).rooms.leave[roomId]).toMatchObject({ timeline: told, state: { events: [] } })
    const after = (await bob.sync({ since, use_state_after: true })).rooms.leave[roomId]
    expect(after).toMatchObject({ timeline: told, state_after: told })
  })

  it('is told so without a reason that is longer than any', async () => {
    const roomId = await invited()
    const since = await bob.syncToken()
    await act(bob, roomId, 'leave', { reason: 'no time, '.repeat(1_000) })
    const { timeline } = (await bob.sync({ since })).rooms.leave[roomId]
    expect(timeline.events).toMatchObject([{ state_key: bob.userId, content: { membership: 'leave' } }])
    expect(JSON.stringify(timeline)).not.toContain('no time')
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
