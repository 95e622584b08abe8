/** Users of ours are invited by users of other servers: what is signed, what is kept, and what their clients are shown. */
import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { verifyEventSignature } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { invite, leaveUnheld } from '../../src/room/membership-changes.js'
import { ReceivedInvites } from '../../src/room/received-invites.js'
import { sendInviteV1 } from '../../src/server-server/invites-v1/send-invite-v1.js'
import { sendInviteV2 } from '../../src/server-server/invites-v2/send-invite-v2.js'
import { insertAccount } from '../../src/store/accounts.js'
import { membershipIn } from '../../src/store/memberships.js'
import { holdRoom, testInbound } from '../support/inbound.js'
import { path, signed, type SignedPdu } from '../support/handshake.js'
import { serverAppOf } from '../support/server-app.js'
import { alice, bob, carol, labRoom, type Branch } from '../support/laboratory/index.js'
import { network, ScriptedServer } from '../support/laboratory/scripted-server.js'
import { testDatabase } from '../support/postgres.js'
import { testRoom, testRooms, testServer, user } from '../support/rooms.js'
import { testSync, TestDevice } from '../sync/device.js'

const database = await testDatabase()
const { db } = database
const engine = await testRooms(database)
const { rooms, stores, writer } = engine
const peer = new ScriptedServer('one.example', labRoom().judged)
const inbound = testInbound(database, engine, network(peer))
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await inbound.close()
  await engine.close()
})
const endpoints = [sendInviteV1, sendInviteV2]
const from = await serverAppOf(endpoints, { receivedInvites: new ReceivedInvites(inbound, { rateLimits: false }) })
const one = from('one.example')
const limited = await serverAppOf(endpoints, {
  receivedInvites: new ReceivedInvites(inbound, { rateLimits: true }),
})

let users = 0
let mina = ''
beforeEach(async () => {
  mina = user(`mina${++users}`)
  await db
    .transaction()
    .execute((trx) => insertAccount(trx, { userId: mina, passwordHash: undefined, isAdmin: false }, Date.now()))
})

/** An invite of mina by alice on the tip of the room, with changes. */
function inviteOf(room: Branch, more: Record<string, Json | undefined> = {}): SignedPdu {
  const { pdu } = room.attempt(alice, {
    type: 'm.room.member',
    stateKey: mina,
    content: { membership: 'invite', displayname: 'Mina' },
  }).event
  const { hashes: _hashes, signatures: _signatures, event_id: _id, ...event } = pdu
  return signed(room.rules.version, 'one.example', { ...event, ...more })
}

const strippedState: JsonObject[] = [
  { type: 'm.room.create', state_key: '', sender: alice, content: { room_version: '11' } },
  { type: 'm.room.name', state_key: '', sender: alice, content: { name: 'Tea' } },
  { type: 'm.room.member', state_key: alice, sender: alice, content: { membership: 'join', displayname: 'Alice' } },
]
const wholeState = (room: Branch) =>
  ['m.room.create', 'm.room.join_rules'].map((type) => room.stateEvent(type)!.event.pdu as JsonObject)
const stateOf = (room: Branch) => (room.rules.roomIdIsCreateHash ? wholeState(room) : strippedState)

const put = (room: Branch, { eventId, pdu }: SignedPdu, state: unknown = stateOf(room), version = room.rules.version) =>
  one.put(path('v2', 'invite', room.roomId, eventId), { room_version: version, event: pdu, invite_room_state: state })

const shown = async () => {
  const { rooms: sections } = await new TestDevice(sync, mina.slice(1, mina.indexOf(':'))).next()
  return sections?.invite ?? {}
}
const kept = async (roomId: string) => {
  const name = await stores.names.find(roomId)
  return name && (await membershipIn(db, name.room, mina))
}

describe('an invite into a room that nobody here is in', () => {
  it.each(roomVersionNames)('is signed, kept and shown, in version %s', async (version) => {
    const room = labRoom({ version })
    const invite = inviteOf(room)
    const { status, body } = await put(room, invite)
    expect(status).toBe(200)
    expect(body.event).toEqual({ ...invite.pdu, signatures: expect.anything() })
    const { keyId, publicKey } = testServer.key
    expect(verifyEventSignature(rulesOf(version)!, body.event, testServer.name, keyId, publicKey)).toBe(true)
    expect(body.event.signatures['one.example']).toEqual((invite.pdu['signatures'] as JsonObject)['one.example'])
    const events = (await shown())[room.roomId].invite_state.events
    expect(events.at(-1)).toEqual({
      type: 'm.room.member',
      state_key: mina,
      sender: alice,
      content: { membership: 'invite', displayname: 'Mina' },
    })
    expect(events.every((event: object) => Object.keys(event).sort().join() === 'content,sender,state_key,type')).toBe(
      true,
    )
    expect(events.map(({ type }: { type: string }) => type)).toContain('m.room.create')
    expect((await stores.names.find(room.roomId))?.version).toBeUndefined()
  })

  it('comes by the first version of the request, with its state in `unsigned`', async () => {
    const room = labRoom({ version: '2' })
    const invite = inviteOf(room)
    const event = { ...invite.pdu, unsigned: { invite_room_state: strippedState, age: 5 } }
    const { status, body } = await one.put(path('v1', 'invite', room.roomId, invite.eventId), event)
    expect(status).toBe(200)
    expect(body).toEqual([200, { event: { ...event, signatures: expect.anything() } }])
    expect(Object.keys(body[1].event.signatures).sort()).toEqual([testServer.name, 'one.example'].sort())
    expect((await shown())[room.roomId].invite_state.events).toHaveLength(4)
  })

  it('is told once when it comes again, and anew when it is another', async () => {
    const room = labRoom()
    const invite = inviteOf(room)
    await put(room, invite)
    const first = await kept(room.roomId)
    expect((await put(room, invite)).status).toBe(200)
    expect((await kept(room.roomId))?.position).toBe(first?.position)
    const other = inviteOf(room, { content: { membership: 'invite', reason: 'again' } })
    expect((await put(room, other)).status).toBe(200)
    expect((await kept(room.roomId))?.position).toBeGreaterThan(first!.position)
  })

  it('keeps numbers as they were signed', async () => {
    const room = labRoom({ version: '5' })
    const content = { membership: 'invite', 'org.example.n': parseExactJson('1.0') }
    const { eventId, text } = inviteOf(room, { content })
    const body = `{"room_version":"5","event":${text}}`
    expect((await one.put(path('v2', 'invite', room.roomId, eventId), body)).status).toBe(200)
    expect((await kept(room.roomId))?.strippedState).toContain('"org.example.n":1.0')
    const { status } = await one.put(path('v2', 'invite', room.roomId, eventId), body.replace('n":1.0', 'n":1'))
    expect(status).toBe(400)
  })

  it('follows a knock of the user', async () => {
    const room = labRoom()
    await put(room, inviteOf(room))
    const { room: number } = (await stores.names.find(room.roomId))!
    const knock = { room: number, user: mina, membership: 'knock', sender: mina, strippedState: '[]' } as const
    await writer.writeMembership(knock, (await kept(room.roomId))!.position)
    expect(await shown()).toEqual({})
    await put(room, inviteOf(room))
    expect(Object.keys(await shown())).toEqual([room.roomId])
  })
})

describe('what is no invite of ours', () => {
  const forms: [string, (room: Branch) => Record<string, Json | undefined>, number?, string?][] = [
    ['an event of another type', () => ({ type: 'm.room.message' })],
    ['another membership', () => ({ content: { membership: 'join' } })],
    ['a membership that is no text', () => ({ content: { membership: ['invite'] } })],
    ['no state event', () => ({ state_key: undefined })],
    ['an invite of a user of another server', () => ({ state_key: carol })],
    ['an invite of the server itself', () => ({ state_key: testServer.name })],
    ['an invite by a user of another server', () => ({ sender: carol })],
    ['an invite by a user of ours', () => ({ sender: user('mia') })],
    ['an event of another room', () => ({ room_id: '!other:one.example' })],
    ['an invite of somebody who is not here', () => ({ state_key: user('nobody') }), 404, 'M_NOT_FOUND'],
    [
      'an event that is too large',
      () => ({ content: { membership: 'invite', x: 'x'.repeat(66_000) } }),
      400,
      'M_BAD_JSON',
    ],
    ['an event without a depth', () => ({ depth: undefined }), 400, 'M_BAD_JSON'],
    ['power levels', (room) => ({ type: 'm.room.power_levels', state_key: '', content: room.levelsWith({}) })],
  ]
  it.each(forms)('is not signed: %s', async (_what, change, status = 400, errcode = 'M_INVALID_PARAM') => {
    const room = labRoom()
    const answer = await put(room, inviteOf(room, change(room)))
    expect(answer).toMatchObject({ status, body: { errcode } })
    expect(JSON.stringify(answer.body)).not.toContain('signatures')
    expect(await kept(room.roomId)).toBeUndefined()
  })

  it('is not signed under another id, with another content, or without its server’s signature', async () => {
    const room = labRoom()
    const invite = inviteOf(room)
    const invalid = { status: 400, body: { errcode: 'M_INVALID_PARAM' } }
    const other = inviteOf(room, { origin_server_ts: 1 })
    expect(await put(room, { ...invite, eventId: other.eventId })).toMatchObject(invalid)
    const changed = { ...invite.pdu, content: { membership: 'invite', displayname: 'Mallory' } }
    expect(await put(room, { ...invite, pdu: changed })).toMatchObject(invalid)
    const unsigned = { ...invite.pdu, signatures: { 'two.example': { 'ed25519:lab': 'A'.repeat(86) } } }
    expect(await put(room, { ...invite, pdu: unsigned })).toMatchObject(invalid)
    const forged = { ...invite.pdu, signatures: { 'one.example': { 'ed25519:lab': 'A'.repeat(86) } } }
    expect(await put(room, { ...invite, pdu: forged })).toMatchObject(invalid)
    expect(await kept(room.roomId)).toBeUndefined()
  })

  it('is not signed for being an invite by a third party, whose sender’s server need not sign in the room', async () => {
    const room = labRoom()
    const invite = inviteOf(room, { content: { membership: 'invite', third_party_invite: { signed: {} } } })
    const unsigned = { ...invite.pdu, signatures: {} }
    const answer = await put(room, { ...invite, pdu: unsigned })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
  })

  it('is of a room version that is not known here', async () => {
    const room = labRoom()
    expect(await put(room, inviteOf(room), strippedState, 'org.example.99')).toMatchObject({
      status: 400,
      body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: 'org.example.99' },
    })
  })

  it('waits for the keys of its server', async () => {
    const room = labRoom()
    peer.fails('keys')
    expect((await put(room, inviteOf(room))).status).toBe(503)
    peer.honestly('keys')
    expect((await put(room, inviteOf(room))).status).toBe(200)
  })
})

describe('what the inviting server says of the room', () => {
  const hostile: [string, unknown][] = [
    ['nothing', undefined],
    ['no list', { type: 'm.room.name' }],
    ['null', null],
    ['a list of anything', [null, 1, 'x', [], {}, { type: 'm.room.name' }]],
    ['types that are none', [{ type: 5, state_key: '', sender: alice, content: {} }]],
    ['content that is none', [{ type: 'm.room.name', state_key: '', sender: alice, content: 'Tea' }]],
    ['a sender that is none', [{ type: 'm.room.name', state_key: '', sender: 'alice', content: {} }]],
    [
      'values of any type',
      [{ type: 'm.room.name', state_key: '', sender: alice, content: { name: { a: [1, null] } } }],
    ],
    [
      'names of prototypes',
      [
        {
          type: '__proto__',
          state_key: '__proto__',
          sender: alice,
          content: JSON.parse('{"__proto__":{"a":1}}') as unknown,
        },
      ],
    ],
    [
      'null characters',
      [{ type: 'm.room.name\u0000', state_key: '\u0000', sender: alice, content: { name: 'a\u0000b' } }],
    ],
    [
      'another membership of the invited user',
      [{ type: 'm.room.member', state_key: 'MINA', sender: alice, content: { membership: 'join' } }],
    ],
  ]
  it.each(hostile)('does not break their sync: %s', async (_what, state) => {
    const room = labRoom()
    const text = JSON.stringify(state)?.replaceAll('MINA', mina)
    const { status } = await put(room, inviteOf(room), text === undefined ? undefined : JSON.parse(text))
    expect(status).toBe(200)
    const { events } = (await shown())[room.roomId].invite_state
    expect(events.at(-1)).toMatchObject({ type: 'm.room.member', state_key: mina, content: { membership: 'invite' } })
    expect(events.filter(({ state_key: key }: { state_key: string }) => key === mina)).toHaveLength(1)
  })

  it('is refused when it is too much', async () => {
    const room = labRoom()
    const event = (n: number, size: number) => ({
      type: `org.example.${n}`,
      state_key: '',
      sender: alice,
      content: { x: 'x'.repeat(size) },
    })
    const many = Array.from({ length: 51 }, (_, n) => event(n, 1))
    expect(await put(room, inviteOf(room), many)).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } })
    const large = Array.from({ length: 6 }, (_, n) => event(n, 60_000))
    expect(await put(room, inviteOf(room), large)).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } })
    expect(
      (
        await put(
          room,
          inviteOf(room),
          Array.from({ length: 20 }, (_, n) => event(n, 60_000)),
        )
      ).status,
    ).toBe(413)
    expect(await kept(room.roomId)).toBeUndefined()
  })

  describe('in version 12', () => {
    const invalid = { status: 400, body: { errcode: 'M_INVALID_PARAM' } }

    it('must hold the create event of the room, whole', async () => {
      const room = labRoom({ version: '12' })
      const other = labRoom({ version: '12' })
      expect(await put(room, inviteOf(room), [])).toMatchObject(invalid)
      expect(await put(room, inviteOf(room), strippedState)).toMatchObject(invalid)
      expect(await put(room, inviteOf(room), wholeState(other))).toMatchObject(invalid)
      expect((await put(room, inviteOf(room), wholeState(room))).status).toBe(200)
    })

    it('may hold stripped events beside it, which do not take the place of whole ones', async () => {
      const room = labRoom({ version: '12', create: { type: 'm.space' } })
      const state = [...strippedState, ...wholeState(room)]
      expect((await put(room, inviteOf(room), state)).status).toBe(200)
      const { events } = (await shown())[room.roomId].invite_state
      const creates = events.filter(({ type }: { type: string }) => type === 'm.room.create')
      expect(creates).toMatchObject([{ content: { type: 'm.space' } }])
      expect(events).toContainEqual(strippedState[1])
    })

    it('must be rightly signed, and is shown without what was not hashed', async () => {
      const room = labRoom({ version: '12' })
      room.topic(alice, 'true')
      const topic = room.stateEvent('m.room.topic')!.event.pdu as JsonObject
      const forged = { ...topic, signatures: { 'one.example': { 'ed25519:lab': 'A'.repeat(86) } } }
      expect(await put(room, inviteOf(room), [...wholeState(room), forged])).toMatchObject(invalid)
      const changed = { ...topic, content: { topic: 'false' } }
      expect((await put(room, inviteOf(room), [...wholeState(room), changed])).status).toBe(200)
      expect((await shown())[room.roomId].invite_state.events).toContainEqual({
        type: 'm.room.topic',
        state_key: '',
        sender: alice,
        content: {},
      })
    })
  })
})

describe('an invite into a room that users of ours are in', () => {
  async function resident() {
    const room = labRoom({ members: [user('mia'), bob] })
    return { room, name: await holdRoom(engine, room) }
  }

  it('is taken in as the event it is, once, also when it comes in a transaction too', async () => {
    const { room, name } = await resident()
    const invite = inviteOf(room)
    const { status, body } = await put(room, invite)
    expect(status).toBe(200)
    await inbound.settled()
    const stored = await stores.events.byId(name.room, invite.eventId)
    expect(stored).toMatchObject({ fate: 'accepted' })
    expect(JSON.parse(stored!.text)).toEqual(body.event)
    const first = await kept(room.roomId)
    expect(first).toMatchObject({ membership: 'invite', event: stored!.number })
    await inbound.transaction('one.example', [JSON.stringify(body.event)])
    await inbound.settled()
    expect(await kept(room.roomId)).toEqual(first)
    expect(Object.keys(await shown())).toEqual([room.roomId])
  })

  it('is refused to a server that the ACL denies, and for another version', async () => {
    const { room, name } = await resident()
    const invite = inviteOf(room)
    expect(await put(room, invite, strippedState, '10')).toMatchObject({ status: 400 })
    const acl = room.event(alice, {
      type: 'm.room.server_acl',
      stateKey: '',
      content: { allow: ['*'], deny: ['one.example'] },
    })
    await rooms.receive(name, { event: acl.event, text: acl.text, kind: 'live' })
    expect(await put(room, invite)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })
})

describe('a user who comes into the room meanwhile', () => {
  afterEach(() => void jest.restoreAllMocks())

  /** They are invited; what is written of them next comes after their join. */
  async function invited() {
    const room = labRoom()
    const { eventId, event, text } = room.invite(alice, mina)
    const invitation = { eventId, text, pdu: event.pdu as JsonObject }
    expect((await put(room, invitation)).status).toBe(200)
    room.event(mina, { type: 'm.room.member', stateKey: mina, content: { membership: 'join' } })
    const write = writer.writeMembership.bind(writer)
    jest.spyOn(writer, 'writeMembership').mockImplementationOnce(async (...written) => {
      await holdRoom(engine, room)
      return write(...written)
    })
    return { room, invitation }
  }

  it('stays in it when the invite comes again', async () => {
    const { room, invitation } = await invited()
    expect((await put(room, invitation, [])).status).toBe(200)
    expect(await kept(room.roomId)).toMatchObject({ membership: 'join' })
  })

  it('stays in it when they have declined the invite', async () => {
    const { room } = await invited()
    await leaveUnheld({ db, rooms }, (await stores.names.find(room.roomId))!, mina, {})
    expect(await kept(room.roomId)).toMatchObject({ membership: 'join' })
  })

  it('stays in it when the invite was taken back', async () => {
    const { room, invitation } = await invited()
    const leave = { membership: 'leave' }
    const { pdu } = inviteOf(room, { content: leave, auth_events: [invitation.eventId] })
    await inbound.transaction('one.example', [JSON.stringify(pdu)])
    expect(await kept(room.roomId)).toMatchObject({ membership: 'join' })
  })
})

describe('a user who wants no invites', () => {
  const setting = (content: object) =>
    writer.write([
      {
        kind: 'account-data',
        room: 0,
        user: mina,
        type: 'm.invite_permission_config',
        content: JSON.stringify(content),
      },
    ])

  it('gets none', async () => {
    await setting({ default_action: 'block' })
    const room = labRoom()
    expect(await put(room, inviteOf(room))).toMatchObject({ status: 403, body: { errcode: 'M_INVITE_BLOCKED' } })
    expect(await kept(room.roomId)).toBeUndefined()
    await setting({})
    expect((await put(room, inviteOf(room))).status).toBe(200)
  })

  it('gets none of users of this server either', async () => {
    await setting({ default_action: 'block' })
    const room = (await testRoom(engine, user('mia'))) as KnownRoom
    const memberships = { invite: () => Promise.reject(new Error('nobody of another server is invited')) }
    const inviting = invite({ db, rooms, memberships }, room, user('mia'), mina, {})
    await expect(inviting).rejects.toMatchObject({ status: 403, errcode: 'M_INVITE_BLOCKED' })
    expect(await rooms.membership(room, mina)).toBeUndefined()
  })

  it('is not shown those that are there', async () => {
    const room = labRoom()
    await put(room, inviteOf(room))
    const device = new TestDevice(sync, mina.slice(1, mina.indexOf(':')))
    expect(Object.keys((await device.next()).rooms.invite)).toEqual([room.roomId])
    await setting({ default_action: 'block' })
    expect(await shown()).toEqual({})
    await setting({ default_action: 5 })
    expect(Object.keys(await shown())).toEqual([room.roomId])
  })
})

describe('invites of a server with which nobody here shares a room', () => {
  it('are limited, those of others are not', async () => {
    const inviteBy = async (server: string) =>
      (
        await limited(server).put(path('v2', 'invite', '!any:x.example', '$any:x.example'), {
          room_version: '11',
          event: {},
        })
      ).status
    const statuses = (server: string) => Promise.all(Array.from({ length: 25 }, () => inviteBy(server)))
    expect(new Set(await statuses('spam.example'))).toEqual(new Set([400, 429]))
    await holdRoom(engine, labRoom({ members: [user('mia'), bob] }))
    expect(new Set(await statuses('one.example'))).toEqual(new Set([400]))
  })
})
