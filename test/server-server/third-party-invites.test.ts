/** Invites by e-mail address between servers, with an identity server that signs whose address it is. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { signRequest } from '../../src/protocol/x-matrix.js'
import { TestAuthority } from '../support/certificates.js'
import { eventually } from '../support/eventually.js'
import { startFederation, type FederatedServer } from '../support/federation.js'
import { identityToken, type Bind } from '../support/identity-server.js'
import { startIdentityServer } from '../support/started-identity-server.js'
import { TestClient } from '../support/http.js'
import type { TestUser } from '../support/test-user.js'

const authority = new TestAuthority()
const identity = await startIdentityServer(authority)
const [one, two, three] = (await startFederation(3, { authority })) as [
  FederatedServer,
  FederatedServer,
  FederatedServer,
]
const alice = await one.user('alice')
afterEach(() => {
  identity.script = undefined
  identity.revoked.clear()
})
const v3 = '/_matrix/client/v3'
const onBind = '/_matrix/federation/v1/3pid/onbind'

const inviteByMail = (user: TestUser, roomId: string, address = 'carol@example.org') =>
  user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, {
    id_server: identity.name,
    id_access_token: identityToken,
    medium: 'email',
    address,
  })
/** The token of an invite that the identity server keeps. */
const offered = async (user: TestUser, roomId: string): Promise<string> => {
  expect((await inviteByMail(user, roomId)).status).toBe(200)
  return [...identity.kept].findLast(([, { room_id }]) => room_id === roomId)![0]
}
const bound = (server: FederatedServer, bind: Bind) => new TestClient(server.baseUrl).put(onBind, bind)
const invited = async (user: TestUser, roomId: string) => (await user.sync()).rooms?.invite?.[roomId]
const member = async (reader: TestUser, roomId: string, { userId }: TestUser) =>
  (await reader.get(`${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${userId}`)).body
const join = (user: TestUser, roomId: string, ...via: string[]) =>
  user.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?${via.map((name) => `via=${name}`).join('&')}`, {})

describe.each(roomVersionNames)('a third-party invite in a room of version %s', (version) => {
  it('is exchanged with the server of who made it, when the address is bound', async () => {
    const carol = await two.user()
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version })
    const token = await offered(alice, roomId)
    expect(await bound(two, identity.bind(carol.userId, token))).toMatchObject({ status: 200, body: {} })
    expect(await invited(carol, roomId)).toBeDefined()
    expect(await member(alice, roomId, carol)).toEqual({
      membership: 'invite',
      third_party_invite: { display_name: 'c...@e...', signed: identity.signed(carol.userId, token) },
    })
    await carol.join(roomId)
    await eventually('carol is in', async () => (await member(alice, roomId, carol)).membership === 'join')
  })

  it('is redeemed by a server that is in the room, for whoever made it', async () => {
    const [dora, carol] = [await three.user(), await two.user()]
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    await join(await two.user(), roomId, one.name)
    await join(dora, roomId, one.name)
    const token = await offered(alice, roomId)
    await eventually('two has the offer', async () => {
      const { rooms } = two.services
      return rooms.currentState(await rooms.named(roomId), 'm.room.third_party_invite', token)
    })
    expect((await bound(two, identity.bind(carol.userId, token))).status).toBe(200)
    expect(await invited(carol, roomId)).toBeDefined()
    for (const other of [alice, dora])
      await eventually(
        'the others hear of it',
        async () => (await member(other, roomId, carol)).membership === 'invite',
      )
    await carol.join(roomId)
    await eventually('carol is in', async () => (await member(alice, roomId, carol)).membership === 'join')
  })
})

/** A request that `origin` signed. */
const asServer = async (origin: FederatedServer, path: string, content: JsonObject) => {
  const uri = `/_matrix/federation/v1/${path}`
  const authorization = signRequest(
    { method: 'PUT', uri, origin: origin.name, destination: one.name, content },
    origin.key,
  )
  const { status, body } = await new TestClient(one.baseUrl).put(uri, content, { headers: { authorization } })
  return status === 200 ? 200 : `${status} ${body.errcode}`
}

describe('what a server asks to be exchanged', () => {
  let carol: TestUser
  let roomId: string
  let token: string
  beforeEach(async () => {
    carol = await two.user()
    roomId = await alice.createRoom({ preset: 'private_chat' })
    token = await offered(alice, roomId)
  })

  const event = (more: JsonObject = {}, signed: Json = identity.signed(carol.userId, token)): JsonObject => ({
    type: 'm.room.member',
    room_id: roomId,
    sender: alice.userId,
    state_key: carol.userId,
    content: { membership: 'invite', third_party_invite: { display_name: 'x', signed } },
    ...more,
  })
  const exchange = (content: JsonObject, origin = two, room = roomId) =>
    asServer(origin, `exchange_third_party_invite/${encodeURIComponent(room)}`, content)
  const memberEvent = async () => {
    const { rooms } = one.services
    return rooms.currentState(await rooms.named(roomId), 'm.room.member', carol.userId)
  }

  it('is made of what is in the room and what the identity server signed, and of nothing else', async () => {
    const signed = identity.signed(carol.userId, token)
    const { signatures } = signed as { signatures: JsonObject }
    const foreign = {
      ...signed,
      signatures: { ...signatures, 'evil.example': { 'ed25519:1': 'A'.repeat(86) } },
      unsigned: { evil: 1 },
    }
    const content = {
      membership: 'invite',
      displayname: 'Evil',
      reason: 'evil',
      join_authorised_via_users_server: alice.userId,
      third_party_invite: { display_name: 'Evil', evil: 1, signed: foreign },
    }
    const more = { content, event_id: '$evil', auth_events: [], prev_events: [], depth: 1, unsigned: {}, hashes: {} }
    const { rooms } = one.services
    const { extremities } = await rooms.head(await rooms.named(roomId))
    expect(await exchange(event({ ...more, origin_server_ts: 5, redacts: '$x', signatures: {} }))).toBe(200)
    const made = (await memberEvent())!.event
    expect(made.content).toEqual({ membership: 'invite', third_party_invite: { display_name: 'c...@e...', signed } })
    expect(made.prevEvents).toEqual(extremities.map(({ event }) => event.eventId))
    expect(Object.keys(made.pdu).sort()).toEqual(
      ['auth_events', 'content', 'depth', 'hashes', 'origin_server_ts', 'prev_events', 'room_id', 'sender']
        .concat('signatures', 'state_key', 'type')
        .sort(),
    )
    expect(Math.abs(made.originServerTs - Date.now())).toBeLessThan(600_000)
  })

  it.each<[sentence: string, content: () => JsonObject, expected: string]>([
    ['of another type', () => event({ type: 'm.room.power_levels' }), '400 M_INVALID_PARAM'],
    ['of another room than the path’s', () => event({ room_id: '!other:one.example' }), '400 M_INVALID_PARAM'],
    ['without a room', () => event({ room_id: 1 }), '400 M_INVALID_PARAM'],
    ['without content', () => event({ content: 'x' }), '400 M_INVALID_PARAM'],
    ['that is a join', () => event({ content: { membership: 'join' } }), '400 M_INVALID_PARAM'],
    ['without anything signed', () => event({}, 'x'), '400 M_INVALID_PARAM'],
    ['without a sender', () => event({ sender: 1 }), '400 M_INVALID_PARAM'],
    ['by somebody else', () => event({ sender: `@mallory:${two.name}` }), '403 M_FORBIDDEN'],
    ['for a user of another server', () => event({ state_key: alice.userId }), '403 M_FORBIDDEN'],
    ['for somebody else than is signed', () => event({ state_key: `@dora:${two.name}` }), '403 M_FORBIDDEN'],
    ['with another token', () => event({}, identity.signed(carol.userId, 'other')), '403 M_FORBIDDEN'],
    ['with an empty block', () => event({}, {}), '403 M_FORBIDDEN'],
    [
      'signed by somebody else',
      () => event({}, identity.signed(carol.userId, token, {}, identity.stranger)),
      '403 M_FORBIDDEN',
    ],
    [
      'with a word that was changed',
      () => event({}, { ...identity.signed(carol.userId, token), more: 1 }),
      '403 M_FORBIDDEN',
    ],
    ['without signatures', () => event({}, { mxid: carol.userId, token }), '403 M_FORBIDDEN'],
    ['of a megabyte', () => event({ more: 'x'.repeat(1_000_000) }), '413 M_TOO_LARGE'],
  ])('is refused, where it is an event %s', async (_sentence, content, expected) => {
    expect(await exchange(content())).toBe(expected)
    expect(await memberEvent()).toBeUndefined()
  })

  it('is refused in another room, by another server, and to whom the room denies', async () => {
    const other = await alice.createRoom({ preset: 'private_chat' })
    expect(await exchange(event({ room_id: other }), two, other)).toBe('403 M_FORBIDDEN')
    expect(await exchange(event({ room_id: '!unknown:one.example' }), two, '!unknown:one.example')).toBe(
      '404 M_NOT_FOUND',
    )
    expect(await exchange(event(), three)).toBe('403 M_FORBIDDEN')
    expect(
      (await new TestClient(one.baseUrl).put(`/_matrix/federation/v1/exchange_third_party_invite/${roomId}`, event()))
        .status,
    ).toBe(401)
    await setState('m.room.server_acl', { allow: ['*'], deny: [two.name.split(':')[0]!], allow_ip_literals: true })
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    expect(await memberEvent()).toBeUndefined()
  })

  const setState = (type: string, content: object, key = '') =>
    alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/${type}/${key}`, content)
  const act = (action: string, body: object) =>
    alice.ok('POST', `${v3}/rooms/${encodeURIComponent(roomId)}/${action}`, body)

  it('is done once: who is invited stays so, who is in stays in, and who was put out is out', async () => {
    expect(await exchange(event())).toBe(200)
    const first = (await memberEvent())!.event.eventId
    expect(await exchange(event())).toBe(200)
    expect((await memberEvent())!.event.eventId).toBe(first)
    await carol.join(roomId)
    expect(await exchange(event())).toBe(200)
    expect((await memberEvent())!.event.content['membership']).toBe('join')
    await act('kick', { user_id: carol.userId })
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    await act('ban', { user_id: carol.userId })
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    // A third-party invite that was made since is another matter.
    await act('unban', { user_id: carol.userId })
    token = await offered(alice, roomId)
    expect(await exchange(event())).toBe(200)
    expect((await memberEvent())!.event.content['membership']).toBe('invite')
  })

  it('is one event, when it is asked for many times at once', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => exchange(event())))
    expect(new Set(answers)).toEqual(new Set([200]))
    expect((await memberEvent())!.event.content['membership']).toBe('invite')
  })

  it('is refused when the third-party invite was taken back', async () => {
    await setState('m.room.third_party_invite', {}, token)
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
  })

  it('is refused when the identity server does not stand by the key', async () => {
    identity.revoked.add(identity.publicKey)
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    identity.revoked.clear()
    identity.script = () => ({ status: 200, body: { valid: 'true' } })
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    identity.script = () => ({ status: 404, body: { valid: true } })
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    identity.script = () => ({ status: 500, body: {} })
    expect(await exchange(event())).toBe('504 M_UNKNOWN')
    identity.script = () => ({ status: 200, body: { valid: true, more: 'x'.repeat(1_000_000) } })
    expect(await exchange(event())).toBe('504 M_UNKNOWN')
    identity.script = undefined
    expect(await exchange(event())).toBe(200)
  })

  it.each([
    ['http:', `http://localhost/isvalid`, '403 M_FORBIDDEN'],
    ['a file', 'file:///etc/passwd', '403 M_FORBIDDEN'],
    ['no URL', 'x', '403 M_FORBIDDEN'],
    ['a list', ['x'], '403 M_FORBIDDEN'],
    ['nobody', 'https://localhost:1/', '504 M_UNKNOWN'],
  ])('is not made when the key is to be looked up at %s', async (_sentence, key_validity_url, expected) => {
    const offer = { ...identity.offer(), key_validity_url, public_keys: [] }
    await setState('m.room.third_party_invite', offer, token)
    expect(await exchange(event())).toBe(expected)
  })

  it('asks with the key as it stands in the room, and keeps the rest of the URL', async () => {
    const { length } = identity.https.asked
    const padded = `${identity.publicKey}=`
    const offer = { display_name: '', public_key: padded, key_validity_url: `${identity.validityUrl}?a=b` }
    await setState('m.room.third_party_invite', offer, token)
    identity.script = () => ({ status: 200, body: { valid: true } })
    expect(await exchange(event())).toBe(200)
    const { searchParams } = new URL(identity.https.asked[length]!.url, 'https://id.test')
    expect([...searchParams]).toEqual([
      ['a', 'b'],
      ['public_key', padded],
    ])
  })

  it('costs no more than a few checks of signatures, whatever keys there are', async () => {
    const public_keys = Array.from({ length: 600 }, () => ({ public_key: encodeBase64(randomBytes(32)) }))
    await setState('m.room.third_party_invite', { display_name: '', public_keys }, token)
    const before = performance.now()
    expect(await exchange(event())).toBe('403 M_FORBIDDEN')
    expect(performance.now() - before).toBeLessThan(2_000)
  })
})

describe('the word of an identity server that an address was bound', () => {
  let carol: TestUser
  let roomId: string
  let bind: Bind
  beforeEach(async () => {
    carol = await two.user()
    roomId = await alice.createRoom({ preset: 'private_chat' })
    bind = identity.bind(carol.userId, await offered(alice, roomId))
  })
  const told = async (body: unknown, method: 'put' | 'post' = 'put') => {
    const { status, body: answer } = await new TestClient(two.baseUrl)[method](onBind, body)
    return status === 200 ? 200 : `${status} ${answer.errcode}`
  }
  const change = (more: JsonObject): Bind => ({ ...bind, invites: [{ ...bind.invites[0], ...more }] })

  it('is heard by POST as well, and as often as it is said', async () => {
    expect(await told(bind, 'post')).toBe(200)
    expect(await invited(carol, roomId)).toBeDefined()
    expect(await told(bind)).toBe(200)
    expect(await told({ ...bind, invites: [] })).toBe(200)
  })

  it('is asked for again while the server of who invites is away', async () => {
    await one.unplug()
    const answer = await told(bind)
    await one.plug()
    expect(answer).toBe('503 M_UNKNOWN')
    expect(await told(bind)).toBe(200)
    expect(await invited(carol, roomId)).toBeDefined()
  })

  it('that one invite fails does not keep the others back', async () => {
    const bad = [
      { signed: identity.signed(carol.userId, 'other') },
      { room_id: '!unknown:one.example' },
      { sender: `@nobody:${two.name}` },
      { mxid: alice.userId },
      { signed: { ...(bind.invites[0]!['signed'] as JsonObject), mxid: alice.userId } },
    ].map((more) => ({ ...bind.invites[0], ...more }))
    expect(await told({ ...bind, invites: [...bad, ...bind.invites] })).toBe(200)
    expect(await invited(carol, roomId)).toBeDefined()
  })

  it('is nothing to who wants no invites, which is not told', async () => {
    const path = `${v3}/user/${carol.userId}/account_data/m.invite_permission_config`
    await carol.ok('PUT', path, { default_action: 'block' })
    expect(await told(bind)).toBe(200)
    expect(await invited(carol, roomId)).toBeUndefined()
  })

  it.each<[sentence: string, body: () => unknown, expected: string | number]>([
    ['a user of another server', () => ({ ...bind, mxid: alice.userId }), '400 M_INVALID_PARAM'],
    ['nobody', () => ({ ...bind, mxid: `@nobody:${two.name}` }), '404 M_NOT_FOUND'],
    ['no user id', () => ({ ...bind, mxid: 'carol' }), '400 M_BAD_JSON'],
    ['without invites', () => ({ ...bind, invites: undefined }), '400 M_BAD_JSON'],
    ['a hundred and one invites', () => ({ ...bind, invites: Array(101).fill(bind.invites[0]) }), '400 M_BAD_JSON'],
    ['a megabyte', () => ({ ...bind, more: 'x'.repeat(1_000_000) }), '413 M_TOO_LARGE'],
    ['a room that is none', () => change({ room_id: 'x' }), '400 M_BAD_JSON'],
    ['a sender that is none', () => change({ sender: '@x' }), '400 M_BAD_JSON'],
    ['nothing signed', () => change({ signed: 'x' }), '400 M_BAD_JSON'],
    ['another’s signature', () => change({ signed: identity.signed(carol.userId, 'x', {}, identity.stranger) }), 200],
    ['nothing that is signed', () => change({ signed: {} }), 200],
  ])('does nothing where it is about %s', async (_sentence, body, expected) => {
    expect(await told(body())).toBe(expected)
    expect(await invited(carol, roomId)).toBeUndefined()
  })
})

describe('a user who has the word of an identity server', () => {
  it('comes into a room of another server by it', async () => {
    const carol = await two.user()
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    const third_party_signed = identity.signed(carol.userId, await offered(alice, roomId), { sender: alice.userId })
    const path = `${v3}/rooms/${encodeURIComponent(roomId)}/join`
    expect(
      (await carol.post(path, { third_party_signed: { ...third_party_signed, sender: carol.userId } })).status,
    ).toBe(404)
    expect(await carol.post(path, { third_party_signed })).toMatchObject({ status: 200, body: { room_id: roomId } })
    await eventually('carol is in', async () => (await member(alice, roomId, carol)).membership === 'join')
  })
})
