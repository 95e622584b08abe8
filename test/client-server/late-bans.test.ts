import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { roomEventOf } from '../../src/protocol/pdu.js'
import { finishEvent, signingKeyFromSeed } from '../../src/protocol/signing.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'

/** A moderator of another server bans somebody who joined meanwhile: the ban arrives by another branch than the join. */

const homeserver = await startTestHomeserver()
const { rooms } = homeserver.services
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const zoe = '@zoe:elsewhere.test'
const key = signingKeyFromSeed('1', new Uint8Array(32).fill(9))
const v3 = '/_matrix/client/v3'

const known = (roomId: string) => rooms.named(roomId)
const stateOf = async (roomId: string, type: string, stateKey = '') =>
  (await rooms.currentState(await known(roomId), type, stateKey))!

/** An event of Zoe's on top of another one, as it comes from her server. */
async function fromZoe(
  roomId: string,
  before: StoredEvent,
  auth: readonly StoredEvent[],
  event: { type: string; state_key?: string; content: JsonObject },
): Promise<StoredEvent> {
  const name = await known(roomId)
  const pdu = {
    ...event,
    room_id: roomId,
    sender: zoe,
    depth: before.event.depth + 1,
    origin_server_ts: Date.now(),
    prev_events: [before.event.eventId],
    auth_events: auth.map((one) => one.event.eventId),
  }
  const finished = finishEvent(name.rules, pdu, 'elsewhere.test', key)
  const arrival = {
    event: roomEventOf(name.rules, finished.pdu, finished.eventId),
    text: finished.text,
    kind: 'live' as const,
  }
  return (await rooms.receive(name, arrival)).event
}

/** A room of Alice in which Zoe has as much power, and the event of her joining it. */
async function roomWithZoe() {
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: '11',
    power_level_content_override: { users: { [alice.userId]: 100, [zoe]: 100 } },
  })
  const [create, levels, rule] = await Promise.all([
    stateOf(roomId, 'm.room.create'),
    stateOf(roomId, 'm.room.power_levels'),
    stateOf(roomId, 'm.room.join_rules'),
  ])
  const last = (await rooms.head(await known(roomId))).extremities[0]!
  const content = { membership: 'join' }
  const join = await fromZoe(roomId, last, [create, levels, rule], { type: 'm.room.member', state_key: zoe, content })
  expect(join.fate).toBe('accepted')
  const ban = (user: TestUser) =>
    fromZoe(roomId, join, [create, levels, join], {
      type: 'm.room.member',
      state_key: user.userId,
      content: { membership: 'ban', reason: 'late' },
    })
  return { roomId, ban }
}

const path = (roomId: string, rest: string) => `${v3}/rooms/${encodeURIComponent(roomId)}/${rest}`

describe('a ban that arrives after a join it did not know of', () => {
  it('takes the room from who is banned', async () => {
    const { roomId, ban } = await roomWithZoe()
    await bob.join(roomId)
    const said = await bob.say(roomId, 'I am in')
    const [since, sinceAlice] = [await bob.syncToken(), await alice.syncToken()]
    expect((await ban(bob)).fate).toBe('accepted')

    const { rooms: seen } = await bob.sync({ since })
    expect(Object.keys(seen.leave)).toEqual([roomId])
    expect(seen.join).toBeUndefined()
    expect((await bob.ok('GET', `${v3}/joined_rooms`)).joined_rooms).not.toContain(roomId)
    const sent = await bob.put(path(roomId, 'send/m.room.message/1'), { msgtype: 'm.text', body: 'x' })
    expect(sent.body.errcode).toBe('M_FORBIDDEN')
    expect((await bob.post(path(roomId, 'join'), {})).body.errcode).toBe('M_FORBIDDEN')
    expect((await bob.get(path(roomId, `event/${encodeURIComponent(said)}`))).status).toBe(200)

    const member = await alice.ok('GET', path(roomId, `state/m.room.member/${bob.userId}`))
    expect(member).toEqual({ membership: 'ban', reason: 'late' })
    const { rooms: forAlice } = await alice.sync({ since: sinceAlice })
    const { timeline, state } = forAlice.join[roomId]
    expect([...state.events, ...timeline.events]).toContainEqual(
      expect.objectContaining({ state_key: bob.userId, content: { membership: 'ban', reason: 'late' } }),
    )
    await alice.say(roomId, 'after')
    await alice.ok('POST', path(roomId, 'unban'), { user_id: bob.userId })
    await bob.join(roomId)
  })

  it('does not touch who left before it came, and keeps them out', async () => {
    const { roomId, ban } = await roomWithZoe()
    await bob.join(roomId)
    await bob.ok('POST', path(roomId, 'leave'), {})
    await ban(bob)
    expect((await bob.post(path(roomId, 'join'), {})).body.errcode).toBe('M_FORBIDDEN')
    expect((await bob.post(path(roomId, 'forget'), {})).status).toBe(200)
  })
})
