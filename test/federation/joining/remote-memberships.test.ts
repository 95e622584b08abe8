/** Memberships by handshake with a server that answers late, wrongly, or by events that are not known here. */
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { JsonObject } from '../../../src/protocol/json.js'
import { allow, reject, type Verdict } from '../../../src/protocol/verdict.js'
import { withSignature } from '../../../src/room/inbound/signatures.js'
import { eventually } from '../../support/eventually.js'
import { startWithHostilePeer, type Operation } from '../../support/hostile-peer.js'
import { json } from '../../support/https-server.js'
import type { Branch } from '../../support/laboratory/index.js'
import type { TestUser } from '../../support/test-user.js'

const { hearth, peer, faults } = await startWithHostilePeer()
const { rooms } = hearth.services
const v3 = '/_matrix/client/v3'

afterEach(() => {
  jest.restoreAllMocks()
  peer.honestly()
  expect(faults).toEqual([])
})

const join = (user: TestUser, { roomId }: Branch, options?: { readonly signal: AbortSignal }) =>
  user.post(`${v3}/join/${encodeURIComponent(roomId)}?via=${peer.name}`, {}, options)

/** The event is at the peer, and the Hearth hears of it. */
async function invite(room: Branch, user: TestUser): Promise<void> {
  const { eventId, event } = room.invite(peer.eve, user.userId)
  expect(await peer.invite(room, { eventId, pdu: event.pdu as JsonObject })).toMatchObject({ status: 200 })
}

const membership = async ({ roomId }: Branch, { userId }: TestUser) =>
  rooms.membership(await rooms.named(roomId), userId)

/** Nobody of the Hearth can tell who is in the room it names. */
const restricted = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: '!none:two.example' }] }

/** Its answers wait until they are let go. */
function holdBack(operation: Operation) {
  let letGo = () => {}
  const free = new Promise<void>((resolve) => (letGo = resolve))
  const before = peer.timesAsked(operation)
  peer.answers(operation, (honest, _asked, response) => void free.then(() => json(response, honest)))
  return { asked: () => eventually(`${operation} is asked`, () => peer.timesAsked(operation) > before), letGo }
}

/** What the Hearth is asked now it is asked after connections that were closed before. */
const noticed = (user: TestUser) => user.ok('GET', `${v3}/account/whoami`)

describe('a client that goes away', () => {
  it('has joined where the room has taken the join', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    const gone = new AbortController()
    const { asked, letGo } = holdBack('send_join')
    const joining = join(mia, room, gone)
    await asked()
    gone.abort()
    await expect(joining).rejects.toThrow()
    await noticed(mia)
    letGo()
    const joined = async () => (await mia.ok('GET', `${v3}/joined_rooms`)).joined_rooms.includes(room.roomId)
    await eventually('mia is in the room', joined)
  })

  it('has declined an invite in the room, too', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    await invite(room, mia)
    const gone = new AbortController()
    const { asked, letGo } = holdBack('make_leave')
    const leaving = mia.post(`${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {}, gone)
    await asked()
    gone.abort()
    await expect(leaving).rejects.toThrow()
    await noticed(mia)
    const before = peer.timesAsked('send_leave')
    letGo()
    await eventually('the room hears of it', () => peer.timesAsked('send_leave') > before)
  })
})

describe('a join', () => {
  it('asks nobody when another user came in meanwhile', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = peer.room({ joinRules: { join_rule: 'invite' } })
    await invite(room, mia)
    // As the Hearth is not in the room, it hears of this one alone.
    await invite(room, max)
    const { asked, letGo } = holdBack('send_join')
    const joining = join(mia, room)
    await asked()
    const second = join(max, room)
    letGo()
    expect([(await joining).status, (await second).status]).toEqual([200, 200])
    expect(peer.timesAsked('make_join')).toBe(2)
  })

  it('of a room that is said to be of another version than it is spoils nothing', async () => {
    const mia = await hearth.user()
    const room = peer.room({ version: '10' })
    peer.answers('make_join', (honest) => ({ ...honest, room_version: '9' }))
    expect((await join(mia, room)).status).toBe(502)
    peer.honestly()
    expect((await join(mia, room)).status).toBe(200)
    expect(await rooms.named(room.roomId)).toMatchObject({ version: '10' })
  })

  it('is not made where a room that is known is said to be of another version', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = await peer.roomWith([mia], { version: '10', joinRules: { join_rule: 'public' } })
    await mia.ok('POST', `${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {})
    const before = peer.timesAsked('send_join')
    peer.answers('make_join', (honest) => ({ ...honest, room_version: '9' }))
    expect((await join(max, room)).status).toBe(504)
    expect(peer.timesAsked('send_join')).toBe(before)
  })

  it('of the room that replaces another brings the tags of the user with it', async () => {
    const mia = await hearth.user()
    const old = await mia.createRoom()
    const room = peer.room({ create: { predecessor: { room_id: old, event_id: '$tombstone' } } })
    const tags = (roomId: string) => `${v3}/user/${mia.userId}/rooms/${encodeURIComponent(roomId)}/tags`
    await mia.ok('PUT', `${tags(old)}/m.favourite`, { order: 0.5 })
    await mia.ok('PUT', `${v3}/rooms/${encodeURIComponent(old)}/state/m.room.tombstone`, {
      body: 'moved',
      replacement_room: room.roomId,
    })
    expect((await join(mia, room)).status).toBe(200)
    expect(await mia.ok('GET', tags(room.roomId))).toEqual({ tags: { 'm.favourite': { order: 0.5 } } })
  })

  it('is refused in few words, however many the other server makes of it', async () => {
    const mia = await hearth.user()
    const error = '😀'.repeat(10_000)
    peer.answers('make_join', (_honest, _asked, response) => json(response, { errcode: 'M_FORBIDDEN', error }, 403))
    const { status, body } = await join(mia, peer.room())
    expect([status, body.errcode]).toEqual([403, 'M_FORBIDDEN'])
    expect(body.error.length).toBeLessThan(1_000)
  })

  it('may stand on events that have not arrived', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = peer.room({ joinRules: restricted })
    room.invite(peer.eve, mia.userId)
    expect((await join(mia, room)).status).toBe(200)
    room.invite(peer.eve, max.userId)
    expect(await join(max, room)).toMatchObject({ status: 200 })
    expect(await membership(room, max)).toBe('join')
  })

  it('is refused when the room as it is known here does not take it', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = await peer.roomWith([mia])
    const [closed] = room.fork()
    const { text } = closed!.joinRules(peer.eve, restricted)
    await peer.send([text])
    await peer.settled()
    expect(await join(max, room)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await membership(room, max)).toBeUndefined()
  })
})

describe('an invite into a room with a policy server', () => {
  const policy = { name: 'policy.example', key: new Uint8Array(32) }
  const invited = (user: TestUser, roomId: string) =>
    user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: peer.eve })
  const policed = (verdict: Verdict) => {
    jest.spyOn(rooms.policies!, 'of').mockResolvedValue(policy)
    jest.spyOn(rooms.policies!, 'check').mockImplementation(async (_policy, rules, pdu) => ({
      verdict,
      pdu: withSignature(rules, pdu, policy.name, 'ed25519:policy_server', 'c2lnbmF0dXJl'),
    }))
  }

  it('goes to the other server with its signature', async () => {
    const mia = await hearth.user()
    const roomId = await mia.createRoom()
    policed(allow)
    let sent: string | undefined
    peer.answers('invite', (honest, { body }) => {
      sent = body
      return honest
    })
    expect((await invited(mia, roomId)).status).toBe(200)
    expect(JSON.parse(sent!).event.signatures).toMatchObject({
      [policy.name]: { 'ed25519:policy_server': 'c2lnbmF0dXJl' },
      [hearth.name]: expect.anything(),
    })
  })

  it('goes nowhere when it does not allow it', async () => {
    const mia = await hearth.user()
    const roomId = await mia.createRoom()
    policed(reject('no'))
    const before = peer.timesAsked('invite')
    expect(await invited(mia, roomId)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(peer.timesAsked('invite')).toBe(before)
  })
})
