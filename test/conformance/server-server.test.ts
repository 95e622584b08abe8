import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { getWellKnown } from '../../src/server-server/wellknown/get-well-known.js'
import { routes } from '../../src/server-server/routes.js'
import { path, signed, type SignedPdu } from '../support/handshake.js'
import { startWithHostilePeer, type Asking } from '../support/hostile-peer.js'
import type { Answer } from '../support/http.js'
import type { TestUser } from '../support/homeserver.js'
import { deviceKeys } from '../support/remote-users.js'
import { serverAppOf } from '../support/server-app.js'
import { startIdentityServer } from '../support/started-identity-server.js'
import { Conformance, type Exchange } from './conformance.js'
import { serverAuthExceptions, serverExceptions, serversOurs } from './exceptions.js'
import { Specification, specificationFolder } from './specification.js'

/**
 * What the server answers to other servers, held against the specification's OpenAPI files as what it answers to clients is
 * (openapi.test.ts). A server of a test asks everything there is to ask, and some of it is refused.
 */

const folder = specificationFolder()
const inCase = folder === undefined ? describe.skip : describe
const specification = folder === undefined ? undefined! : new Specification(folder, 'server-server')
const conformance = new Conformance(specification, serverExceptions, routes)
const declared = routes.filter(({ operationId }) => !serversOurs.includes(operationId))

inCase('the endpoints for servers', () => {
  it('are those of the specification, or few others', () => {
    const unknown = routes.filter(({ operationId }) => !specification.operations.has(operationId))
    expect(unknown.map(({ operationId }) => operationId)).toEqual(serversOurs)
    const lacking = [...specification.operations.keys()].filter(
      (operationId) => !routes.some((endpoint) => endpoint.operationId === operationId),
    )
    // Media come with media; policy servers answer the last.
    expect(lacking).toEqual(['getContent', 'getContentThumbnail', 'askPolicyServerToSign'])
  })

  it.each(declared.map((endpoint) => [endpoint.operationId, endpoint] as const))('%s', (operationId, endpoint) => {
    const { method, path: declaredPath, auth } = specification.operations.get(operationId)!
    expect({ method: endpoint.method, path: endpoint.paths[0], auth: endpoint.auth }).toEqual({
      method,
      path: declaredPath,
      auth: serverAuthExceptions[operationId] ?? auth,
    })
  })
})

const started =
  folder === undefined
    ? new Promise<never>(() => undefined)
    : startWithHostilePeer().then(async (all) => ({ ...all, identity: await startIdentityServer(all.authority) }))
if (folder !== undefined) await started

const config = { serverName: 'hearth.test', publicBaseUrl: 'https://matrix.hearth.test' }
const delegated = await serverAppOf([getWellKnown], { config } as never)

const exercised = new Set<string | undefined>()

/** Asks as the peer, unless `asking` says otherwise, and keeps what was answered. */
type Ask = (method: string, uri: string, asking?: Asking) => Promise<Answer>

function conforms(name: string, scenario: (ask: Ask) => Promise<void>, version = '11'): void {
  it(name, async () => {
    const { peer } = await started
    const exchanges: Exchange[] = []
    await scenario(async (method, uri, asking) => {
      const answer = await peer.ask(method, uri, asking)
      exchanges.push({ method, path: uri, answer, version })
      return answer
    })
    const answered = exchanges.filter(({ answer }) => answer.status === 200)
    answered.forEach((exchange) => exercised.add(conformance.operationOf(exchange)))
    expect(conformance.faultsOf(exchanges)).toEqual([])
  })
}

const v3 = '/_matrix/client/v3'
const query = (values: Readonly<Record<string, string>>) => `?${new URLSearchParams(values).toString()}`

inCase('what is answered about the server', () => {
  conforms('to anybody', async (ask) => {
    const { peer, hearth } = await started
    const anybody = { authorization: '' }
    await ask('GET', '/_matrix/federation/v1/version', anybody)
    await ask('GET', '/_matrix/key/v2/server', anybody)
    await ask('GET', '/.well-known/matrix/server', anybody)
    await ask('GET', `/_matrix/key/v2/query/${peer.name}`, anybody)
    await ask('POST', '/_matrix/key/v2/query', { ...anybody, content: { server_keys: { [hearth.name]: {} } } })
    await ask('POST', '/_matrix/key/v2/query', { ...anybody, content: { server_keys: 1 } })
    await ask('GET', '/_matrix/federation/v1/nothing', anybody)
    await ask('PUT', '/_matrix/federation/v1/version', anybody)
    await ask('GET', '/_matrix/federation/v1/publicRooms', anybody)
    await ask('GET', '/_matrix/federation/v1/publicRooms', { authorization: 'X-Matrix origin=x,key=y,sig=z' })
  })

  it('to those who look where it listens', async () => {
    const client = delegated()
    const exchange = {
      method: 'GET',
      path: '/.well-known/matrix/server',
      answer: await client.get(getWellKnown.paths[0]!),
    }
    exercised.add(conformance.operationOf(exchange))
    expect([exchange.answer.status, conformance.faultsOf([exchange])]).toEqual([200, []])
  })
})

/** A room of ours, and what the peer may ask about it when `who` of the peer is in it. */
async function roomOf(alice: TestUser, version: string, more: object = {}) {
  const { body } = await alice.post(`${v3}/createRoom`, { preset: 'public_chat', room_version: version, ...more })
  return body.room_id as string
}

async function made(ask: Ask, kind: 'join' | 'leave' | 'knock', roomId: string, who: string, version: string) {
  const { peer } = await started
  const versions = kind === 'leave' ? '' : query({ ver: version })
  const { status, body } = await ask('GET', path('v1', `make_${kind}`, roomId, who) + versions)
  expect(status).toBe(200)
  return signed(version, peer.name, body.event as JsonObject)
}

const send = (ask: Ask, api: string, kind: string, roomId: string, { eventId, pdu }: SignedPdu, rest = '') =>
  ask('PUT', path(api, `send_${kind}`, roomId, eventId) + rest, { content: pdu })

async function joined(ask: Ask, roomId: string, who: string, version: string, rest = '') {
  const join = await made(ask, 'join', roomId, who, version)
  expect((await send(ask, 'v2', 'join', roomId, join, rest)).status).toBe(200)
  return join
}

inCase.each(roomVersionNames)('what is answered about rooms of version %s', (version) => {
  conforms(
    'to who is in them',
    async (ask) => {
      const { peer, hearth } = await started
      const alice = await hearth.user()
      const roomId = await roomOf(alice, version, { topic: 'Talk' })
      const join = await joined(ask, roomId, peer.user('dora'), version)
      const last = await alice.say(roomId, 'hello')
      await joined(ask, roomId, peer.user('dan'), version, '?omit_members=true')
      const of = query({ event_id: last })
      await ask('GET', path('v1', 'event', last))
      await ask('GET', path('v1', 'state', roomId) + of)
      await ask('GET', path('v1', 'state_ids', roomId) + of)
      await ask('GET', path('v1', 'event_auth', roomId, last))
      await ask('GET', path('v1', 'backfill', roomId) + query({ v: last, limit: '10' }))
      const gap = { earliest_events: [join.eventId], latest_events: [last], limit: 10, min_depth: 0 }
      await ask('POST', path('v1', 'get_missing_events', roomId), { content: gap })
      await ask('GET', path('v1', 'timestamp_to_event', roomId) + query({ ts: '0', dir: 'f' }))
      await ask('GET', path('v1', 'hierarchy', roomId))
      const nowhere = query({ event_id: '$nowhere' })
      for (const what of ['state', 'state_ids']) await ask('GET', path('v1', what, roomId) + nowhere)
      for (const what of ['state', 'state_ids', 'backfill', 'timestamp_to_event'])
        await ask('GET', path('v1', what, roomId))
      await ask('GET', path('v1', 'event', '$nowhere'))
      await ask('GET', path('v1', 'event_auth', '!nowhere:x', last))
      await ask('GET', path('v1', 'timestamp_to_event', roomId) + query({ ts: '0', dir: 'b' }))
      await ask('POST', path('v1', 'get_missing_events', roomId), { content: { latest_events: 1 } })
      await ask('GET', path('v1', 'hierarchy', '!nowhere:x'))
      const leave = await made(ask, 'leave', roomId, peer.user('dan'), version)
      await send(ask, 'v2', 'leave', roomId, leave)
      await send(ask, 'v1', 'leave', roomId, await made(ask, 'leave', roomId, peer.user('dora'), version))
    },
    version,
  )

  conforms(
    'to who comes in and goes',
    async (ask) => {
      const { peer, hearth } = await started
      const alice = await hearth.user()
      const roomId = await roomOf(alice, version)
      await send(ask, 'v1', 'join', roomId, await made(ask, 'join', roomId, peer.user('dora'), version))
      await ask('GET', path('v1', 'make_join', roomId, peer.user('x')) + query({ ver: '0' }))
      await ask('GET', path('v1', 'make_join', '!nowhere:x', peer.user('x')) + query({ ver: version }))
      await ask('GET', path('v1', 'make_leave', roomId, peer.user('x')))
      await ask('GET', path('v1', 'make_knock', roomId, peer.user('x')) + query({ ver: version }))
      await ask('PUT', path('v2', 'send_join', roomId, '$x'), { content: {} })
      await ask('PUT', path('v2', 'send_leave', roomId, '$x'), { content: { sender: 1 } })
      await ask('PUT', path('v1', 'send_knock', roomId, '$x'), { content: {} })
    },
    version,
  )

  conforms(
    'to who invites',
    async (ask) => {
      const { peer, hearth } = await started
      const mia = await hearth.user()
      const room = peer.room({ version })
      const invite = () => {
        const {
          hashes: _hashes,
          signatures: _signatures,
          event_id: _id,
          ...event
        } = room.attempt(peer.eve, {
          type: 'm.room.member',
          stateKey: mia.userId,
          content: { membership: 'invite' },
        }).event.pdu
        return signed(version, peer.name, event)
      }
      const { eventId, pdu } = invite()
      const invite_room_state = ['m.room.create', 'm.room.join_rules'].map(
        (type) => room.stateEvent(type)!.event.pdu as JsonObject,
      )
      const content = { room_version: version, event: pdu, invite_room_state }
      expect((await ask('PUT', path('v2', 'invite', room.roomId, eventId), { content })).status).toBe(200)
      if (version === '1' || version === '2') {
        const other = invite()
        const first = { ...other.pdu, unsigned: { invite_room_state } }
        expect((await ask('PUT', path('v1', 'invite', room.roomId, other.eventId), { content: first })).status).toBe(
          200,
        )
      }
      await ask('PUT', path('v1', 'invite', room.roomId, eventId), { content: pdu })
      await ask('PUT', path('v2', 'invite', room.roomId, eventId), { content: { ...content, room_version: '0' } })
      await ask('PUT', path('v2', 'invite', room.roomId, '$other'), { content })
    },
    version,
  )
})

inCase('what is answered', () => {
  conforms('to who knocks', async (ask) => {
    const { peer, hearth } = await started
    const alice = await hearth.user()
    const initial_state = [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }]
    const roomId = await roomOf(alice, '11', { initial_state, name: 'Knock here' })
    const knock = await made(ask, 'knock', roomId, peer.user('dora'), '11')
    expect((await send(ask, 'v1', 'knock', roomId, knock)).body.knock_room_state).not.toHaveLength(0)
  })

  conforms('to transactions', async (ask) => {
    const { peer, hearth } = await started
    const alice = await hearth.user()
    const room = await peer.roomWith([alice])
    const good = room.say(peer.eve, 'hello')
    const typing = { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: peer.eve, typing: true } }
    const base = { origin: peer.name, origin_server_ts: Date.now() }
    const pdus = [good.event.pdu, { ...good.event.pdu, room_id: '!nowhere:x' }, { type: 1 }]
    const content = { ...base, pdus, edus: [typing] } as JsonObject
    const { body } = await ask('PUT', path('v1', 'send', 'one'), { content })
    expect(Object.keys(body.pdus)).not.toHaveLength(0)
    await ask('PUT', path('v1', 'send', 'two'), { content: { ...base, pdus: Array(51).fill({}) as JsonObject[] } })
    await ask('PUT', path('v1', 'send', 'three'), { content: { pdus: 1 } })
  })

  conforms('about the directory, profiles and public rooms', async (ask) => {
    const { hearth } = await started
    const alice = await hearth.user()
    await alice.put(`${v3}/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: 'Alice' })
    const localpart = `lobby${Date.now()}`
    const more = { room_alias_name: localpart, visibility: 'public', name: 'Lobby', topic: 'Come in' }
    const space = await roomOf(alice, '11', { ...more, creation_content: { type: 'm.space' } })
    const child = await roomOf(alice, '11', { name: 'Child' })
    await alice.put(`${v3}/rooms/${encodeURIComponent(space)}/state/m.space.child/${encodeURIComponent(child)}`, {
      via: [hearth.name],
    })
    const asked = '/_matrix/federation/v1/query'
    await ask('GET', `${asked}/directory${query({ room_alias: `#${localpart}:${hearth.name}` })}`)
    await ask('GET', `${asked}/directory${query({ room_alias: `#nobody:${hearth.name}` })}`)
    await ask('GET', `${asked}/directory`)
    await ask('GET', `${asked}/profile${query({ user_id: alice.userId })}`)
    await ask('GET', `${asked}/profile${query({ user_id: alice.userId, field: 'displayname' })}`)
    await ask('GET', `${asked}/profile${query({ user_id: `@nobody:${hearth.name}` })}`)
    await ask('GET', `${asked}/profile${query({ user_id: '@nobody:elsewhere' })}`)
    await ask('GET', `${asked}/anything`)
    const rooms = '/_matrix/federation/v1/publicRooms'
    await ask('GET', rooms)
    await ask('GET', `${rooms}?limit=1`)
    await ask('GET', `${rooms}?limit=-1`)
    await ask('POST', rooms, { content: { filter: { generic_search_term: 'lobby' }, limit: 1 } })
    await ask('POST', rooms, { content: { limit: 'x' } })
    expect((await ask('GET', path('v1', 'hierarchy', space))).body.children).toHaveLength(1)
  })

  conforms('about devices and keys', async (ask) => {
    const { peer, hearth } = await started
    const alice = await hearth.user()
    const room = await peer.roomWith([alice])
    expect(room.roomId).toBeDefined()
    const keys = deviceKeys(alice.userId, alice.deviceId)
    await alice.ok('POST', `${v3}/keys/upload`, { device_keys: keys })
    await ask('GET', path('v1', 'user', 'devices', alice.userId))
    await ask('GET', path('v1', 'user', 'devices', '@nobody:elsewhere'))
    await ask('POST', path('v1', 'user', 'keys', 'query'), { content: { device_keys: { [alice.userId]: [] } } })
    await ask('POST', path('v1', 'user', 'keys', 'query'), { content: { device_keys: 1 } })
    const one_time_keys = { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } }
    await ask('POST', path('v1', 'user', 'keys', 'claim'), { content: { one_time_keys } })
    await ask('POST', path('v1', 'user', 'keys', 'claim'), { content: { one_time_keys: [] } })
  })

  conforms('to who was shown an OpenID token', async (ask) => {
    const { hearth } = await started
    const alice = await hearth.user()
    const token = await alice.ok('POST', `${v3}/user/${encodeURIComponent(alice.userId)}/openid/request_token`, {})
    const userinfo = '/_matrix/federation/v1/openid/userinfo'
    await ask('GET', userinfo + query({ access_token: token.access_token }), { authorization: '' })
    await ask('GET', userinfo + query({ access_token: 'x' }), { authorization: '' })
    await ask('GET', userinfo, { authorization: '' })
  })

  conforms('to an identity server, and to who exchanges its invites', async (ask) => {
    const { peer, hearth, identity } = await started
    const alice = await hearth.user()
    const roomId = await roomOf(alice, '11')
    const put = `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.third_party_invite/token`
    await alice.ok('PUT', put, identity.offer())
    const who = peer.user('dora')
    const third_party_invite = { display_name: 'd...', signed: identity.signed(who, 'token') }
    const content = {
      type: 'm.room.member',
      room_id: roomId,
      sender: alice.userId,
      state_key: who,
      content: { membership: 'invite', third_party_invite },
    } as JsonObject
    const exchange = path('v1', 'exchange_third_party_invite', roomId)
    expect((await ask('PUT', exchange, { content })).status).toBe(200)
    await ask('PUT', exchange, { content: {} })
    const invites = [] as JsonObject[]
    const bound = { medium: 'email', address: 'a@example.org', mxid: alice.userId, invites }
    const onBind = '/_matrix/federation/v1/3pid/onbind'
    expect((await ask('PUT', onBind, { authorization: '', content: bound })).status).toBe(200)
    await ask('POST', onBind, { authorization: '', content: { ...bound, mxid: '@x:elsewhere' } })
  })
})

const itInCase = folder === undefined ? it.skip : it
itInCase('all of which was asked', () => {
  const missing = declared.filter(({ operationId }) => !exercised.has(operationId))
  expect(missing.map(({ operationId }) => operationId)).toEqual(['queryInfo'])
})
