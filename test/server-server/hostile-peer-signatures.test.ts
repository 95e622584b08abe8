/**
 * What carries the Hearth's signature, it has meant: whatever a hostile server puts into templates, invites and joins to
 * be signed. Every text that went between the two is looked through for signatures that hold.
 */
import { afterEach, describe, expect, it } from '@jest/globals'
import { isObject, own, ownString, type Json, type JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { serverNameOf } from '../../src/protocol/identifiers.js'
import { finishEvent, signJson, verifyEventSignature, verifyJson } from '../../src/protocol/signing.js'
import { JsonError, parseExactJson } from '../../src/protocol/strict-json.js'
import { HostilePeer, startWithHostilePeer } from '../support/hostile-peer.js'
import type { Branch } from '../support/laboratory/index.js'
import type { TestUser } from '../support/test-user.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const other = await HostilePeer.start(authority, hearth)
const [mia, max] = [await hearth.user('mia'), await hearth.user('max')]
const v3 = '/_matrix/client/v3'

type Keys = Readonly<Record<string, Json | undefined>>

function* objectsIn(value: Json | undefined): Generator<JsonObject> {
  if (Array.isArray(value)) for (const item of value as readonly Json[]) yield* objectsIn(item)
  if (!isObject(value)) return
  yield value
  for (const member of Object.values(value)) yield* objectsIn(member)
}

function parsed(text: string): Json | undefined {
  try {
    return parseExactJson(text)
  } catch (cause) {
    if (cause instanceof JsonError) return undefined
    throw cause
  }
}

/** Objects with a signature of the Hearth that holds, as an event of some version or as any JSON. */
function signedByHearth(): JsonObject[] {
  const { name, key } = hearth
  const holds = (object: JsonObject) =>
    verifyJson(object, name, key.keyId, key.publicKey) ||
    roomVersionNames.some((version) => {
      try {
        return verifyEventSignature(rulesOf(version)!, object, name, key.keyId, key.publicKey)
      } catch {
        return false
      }
    })
  const hasOne = (object: JsonObject) => {
    const signatures = own(object, 'signatures')
    return isObject(signatures) && own(signatures, name) !== undefined
  }
  return [...peer.exchanged, ...other.exchanged]
    .filter((text) => text.includes(name) && text.includes('signatures'))
    .flatMap((text) => [...objectsIn(parsed(text))])
    .filter((object) => hasOne(object) && holds(object))
}

const forget = () => [peer, other].forEach(({ exchanged }) => (exchanged.length = 0))
afterEach(() => {
  forget()
  peer.honestly()
})

/** Of a membership of our own user, no more than the user has said. */
const isOfOurUser = (event: JsonObject, user: TestUser, roomId: string, membership: string): boolean => {
  const content = own(event, 'content') as JsonObject
  const { membership: said, displayname: _name, join_authorised_via_users_server: by, ...more } = content
  return (
    own(event, 'type') === 'm.room.member' &&
    own(event, 'sender') === user.userId &&
    own(event, 'state_key') === user.userId &&
    own(event, 'room_id') === roomId &&
    said === membership &&
    (by === undefined || serverNameOf(by as string) === peer.name) &&
    Object.keys(more).length === 0 &&
    !['redacts', 'third_party_invite', 'unsigned', 'origin', '__proto__'].some((key) => own(event, key) !== undefined)
  )
}

/** Of the event in a template. */
const templateChanges: readonly (readonly [string, Keys])[] = [
  ['another type', { type: 'm.room.power_levels' }],
  ['no type', { type: undefined }],
  ['another sender', { sender: max.userId }],
  ['a sender of the peer', { sender: peer.eve }],
  ['another state key', { state_key: max.userId }],
  ['no state key', { state_key: undefined }],
  ['another room', { room_id: '!other:localhost' }],
  ['no room', { room_id: undefined }],
  ['another membership', { content: { membership: 'ban' } }],
  ['a membership that is no string', { content: { membership: { join: 1 } } }],
  ['a content that is none', { content: [] }],
  ['more content', { content: { membership: '@@', evil: 1, displayname: 'Evil', avatar_url: 'mxc://evil/1' } }],
  ['a third party invite', { content: { membership: '@@', third_party_invite: { signed: { mxid: mia.userId } } } }],
  ['the word of our own user', { content: { membership: '@@', join_authorised_via_users_server: max.userId } }],
  ['the word of another server’s user', { content: { membership: '@@', join_authorised_via_users_server: other.eve } }],
  ['a word that is no user', { content: { membership: '@@', join_authorised_via_users_server: { a: 1 } } }],
  ['more keys', { redacts: '$a', unsigned: { a: 1 }, origin: 'evil', evil: 1, prev_state: [], membership: 'ban' }],
  ['signatures and hashes', { hashes: { sha256: 'x' }, signatures: { [hearth.name]: { 'ed25519:test': 'x' } } }],
  ['the prototype', { ['__proto__']: { type: 'm.room.power_levels' } }],
  ['an id', { event_id: `$mine:${hearth.name}` }],
  ['another time', { origin_server_ts: 1 }],
  ['a depth beyond all', { depth: 2 ** 60 }],
  ['a depth that is none', { depth: 'deep' }],
  ['edges that are none', { prev_events: [{ a: 1 }], auth_events: 'none' }],
  ['very many edges', { prev_events: Array<string>(1000).fill(`$${'a'.repeat(43)}`) }],
]

const asked = {
  join: (user: TestUser, roomId: string) => user.post(`${v3}/join/${encodeURIComponent(roomId)}?via=${peer.name}`, {}),
  knock: (user: TestUser, roomId: string) =>
    user.post(`${v3}/knock/${encodeURIComponent(roomId)}?via=${peer.name}`, {}),
  leave: (user: TestUser, roomId: string) => user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/leave`, {}),
}

/** An invite by Eve, with keys otherwise. */
function inviteOf(room: Branch, changes: Keys = {}) {
  const base = room.attempt(peer.eve, {
    type: 'm.room.member',
    stateKey: mia.userId,
    content: { membership: 'invite' },
  })
  return peer.forged(room, base, changes)
}

describe.each(['join', 'knock', 'leave'] as const)('a template of a %s', (membership) => {
  it.each(templateChanges)('with %s makes us sign nothing but our own', async (_sentence, changes) => {
    const room = peer.room({ joinRules: membership === 'join' ? undefined! : { join_rule: 'knock' } })
    if (membership === 'leave') {
      room.invite(peer.eve, mia.userId)
      const invite = { eventId: room.tips[0]!.eventId, pdu: room.tips[0]!.event.pdu as JsonObject }
      expect((await peer.invite(room, invite)).status).toBe(200)
      forget()
    }
    peer.answers(`make_${membership}`, (honest) => {
      const text = JSON.stringify(changes, (_key, value: unknown) => value).replace('"@@"', JSON.stringify(membership))
      const event = { ...(own(honest, 'event') as JsonObject), ...(JSON.parse(text) as JsonObject) }
      for (const [key, value] of Object.entries(changes))
        if (value === undefined) delete (event as Record<string, unknown>)[key]
      return { ...honest, event }
    })
    const { status } = await asked[membership](mia, room.roomId)
    expect(status).not.toBe(500)
    for (const event of signedByHearth()) {
      expect([event, isOfOurUser(event, mia, room.roomId, membership)]).toEqual([event, true])
    }
    // Whatever the peer made of it, an invite that was refused is gone.
    if (membership === 'leave')
      expect([status, (await mia.sync()).rooms?.invite?.[room.roomId]]).toEqual([200, undefined])
  })

  it('of another version than the room’s makes us sign nothing but our own', async () => {
    for (const version of ['1', '3', '10', '12', '99', '']) {
      forget()
      const room = peer.room({ joinRules: membership === 'join' ? undefined! : { join_rule: 'knock' } })
      peer.answers(`make_${membership}`, (honest) => ({ ...honest, room_version: version }))
      expect((await asked[membership](mia, room.roomId)).status).not.toBe(500)
      for (const event of signedByHearth()) {
        expect([event, isOfOurUser(event, mia, room.roomId, membership)]).toEqual([event, true])
      }
    }
  })
})

describe('an invite', () => {
  const room = peer.room()
  const path = (id: string) =>
    `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(id)}`

  it('of our user is signed', async () => {
    expect((await peer.invite(room, inviteOf(room))).status).toBe(200)
    expect(signedByHearth().map((event) => own(event, 'state_key'))).toEqual([mia.userId])
  })

  it.each<readonly [string, Keys]>([
    ['is a message', { type: 'm.room.message' }],
    ['is a message, and no state', { type: 'm.room.message', state_key: undefined }],
    ['is of power levels', { type: 'm.room.power_levels', state_key: '', content: { users: { [peer.eve]: 100 } } }],
    ['is a create event', { type: 'm.room.create', state_key: '', content: { room_version: '11' } }],
    ...['join', 'leave', 'ban', 'knock', 'Invite', ['invite'], null].map(
      (membership) => [`has membership ${JSON.stringify(membership)}`, { content: { membership } }] as const,
    ),
    [
      'is a join that our user vouches for',
      {
        state_key: peer.user('x'),
        sender: peer.user('x'),
        content: { membership: 'join', join_authorised_via_users_server: mia.userId },
      },
    ],
    ['is of our own user', { sender: mia.userId }],
    ['is of another server’s user', { sender: other.eve }],
    ['is for a user of the peer', { state_key: peer.user('x') }],
    ['is for a user of another server', { state_key: other.eve }],
    ['is for nobody', { state_key: '' }],
    ['is for a user who does not exist', { state_key: `@nobody:${hearth.name}` }],
    ['is for a name that only looks like ours', { state_key: `@mia:${hearth.name}.evil` }],
    ['is of another room', { room_id: `!other:${peer.name}` }],
    ['has no auth events', { auth_events: null }],
    ['has a depth that is none', { depth: -1 }],
    ['has a float', { content: { membership: 'invite', a: 0.5 } }],
  ])('that %s is not', async (_sentence, changes) => {
    const { status } = await peer.invite(room, inviteOf(room, changes))
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
    expect(signedByHearth()).toEqual([])
  })

  it('is not when its path, its hash, its signature or its version are not its own', async () => {
    const { eventId, pdu } = inviteOf(room)
    const state = [room.stateEvent('m.room.create')!.event.pdu as JsonObject]
    const put = (id: string, event: JsonObject, room_version = '11') =>
      peer.ask('PUT', path(id), { content: { room_version, event, invite_room_state: state } })
    const unknownKey = finishEvent(
      room.rules,
      { ...pdu, hashes: undefined, signatures: undefined } as never,
      peer.name,
      other.key,
    )
    const answers = [
      await put(`$${'a'.repeat(43)}`, pdu),
      await put(eventId, { ...pdu, content: { membership: 'invite', reason: 'changed on its way' } }),
      await put(eventId, { ...pdu, hashes: {} }),
      await put(eventId, { ...pdu, signatures: {} }),
      await put(unknownKey.eventId, unknownKey.pdu),
      await put(eventId, pdu, '12'),
      await put(eventId, pdu, '1'),
      await put(eventId, pdu, 'unheard-of'),
    ]
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 400))
    expect(signedByHearth()).toEqual([])
  })

  it('with anything else in it is signed as it is, without what nobody vouches for', async () => {
    const more = { join_authorised_via_users_server: mia.userId, evil: { signatures: { [hearth.name]: {} } } }
    const invite = inviteOf(room, { content: { membership: 'invite', ...more }, evil: 1 })
    expect((await peer.invite(room, invite)).status).toBe(200)
    for (const event of signedByHearth()) {
      expect(event).toMatchObject({ type: 'm.room.member', sender: peer.eve, state_key: mia.userId })
      expect(own(event, 'content')).toMatchObject({ membership: 'invite' })
    }
  })
})

describe('a join into a restricted room of ours', () => {
  const member = peer.user('member')

  it('is signed by us for who may come in, and for nothing and nobody else', async () => {
    const space = await mia.createRoom({ preset: 'private_chat' })
    const rule = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] }
    const initial_state = [{ type: 'm.room.join_rules', state_key: '', content: rule }]
    const roomId = await mia.createRoom({ preset: 'private_chat', room_version: '11', initial_state })
    const { body: open } = await peer.ask(
      'GET',
      `/_matrix/federation/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(member)}?ver=11`,
    )
    expect(open).toMatchObject({ errcode: 'M_FORBIDDEN' })
    // A template as it would be, by what the peer may know.
    const template = await mia.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/state`)
    const idOf = (type: string) => template.find((event: { type: string }) => event.type === type).event_id as string
    const base = {
      type: 'm.room.member',
      room_id: roomId,
      sender: member,
      state_key: member,
      content: { membership: 'join', join_authorised_via_users_server: mia.userId },
      depth: 10,
      origin_server_ts: Date.now(),
      prev_events: [idOf('m.room.join_rules')],
      auth_events: [
        idOf('m.room.create'),
        idOf('m.room.power_levels'),
        idOf('m.room.join_rules'),
        idOf('m.room.member'),
      ],
    }
    const changes: Keys[] = [
      {},
      { type: 'm.room.message' },
      { type: 'm.room.power_levels', state_key: '' },
      { content: { membership: 'invite', join_authorised_via_users_server: mia.userId } },
      { content: { membership: 'knock', join_authorised_via_users_server: mia.userId } },
      { sender: mia.userId, state_key: mia.userId },
      { sender: other.eve, state_key: other.eve },
      { state_key: peer.user('x') },
    ]
    for (const change of changes) {
      const { eventId, pdu } = finishEvent(rulesOf('11')!, { ...base, ...change } as JsonObject, peer.name, peer.key)
      for (const uri of ['v2/send_join', 'v1/send_join', 'v1/send_knock', 'v2/send_leave']) {
        const path = `/_matrix/federation/${uri}/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`
        const { status } = await peer.ask('PUT', path, { content: pdu })
        expect([change, uri, status >= 400 && status < 500]).toEqual([change, uri, true])
      }
      await peer.send([pdu])
    }
    await peer.settled()
    expect(signedByHearth()).toEqual([])
  })
})

describe('a notary’s signature', () => {
  it('stands on keys, which are no event and no request whatever is beside them', async () => {
    const event = inviteOf(peer.room()).pdu
    const request = {
      method: 'PUT',
      uri: '/_matrix/federation/v1/send/1',
      origin: hearth.name,
      destination: other.name,
    }
    peer.answers('keys', (honest) => {
      const { signatures: _signatures, ...keys } = honest
      const { hashes, signatures: _mine, ...shown } = event
      return signJson({ ...keys, ...shown, ...request, hashes: hashes! }, peer.name, peer.key)
    })
    const { status, body } = await peer.ask(
      'GET',
      `/_matrix/key/v2/query/${encodeURIComponent(peer.name)}?minimum_valid_until_ts=${Date.now() + 3_000_000}`,
    )
    expect(status).toBe(200)
    expect(JSON.stringify(body)).toContain('verify_keys')
    for (const object of signedByHearth()) {
      expect(ownString(object, 'server_name')).toBeDefined()
      for (const version of roomVersionNames) {
        expect(
          verifyEventSignature(rulesOf(version)!, object, hearth.name, hearth.key.keyId, hearth.key.publicKey),
        ).toBe(false)
      }
    }
  })
})

it('made no fault show', () => expect(faults).toEqual([]))
