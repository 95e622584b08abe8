/** A server speaks for its own users, whatever it writes into what it signs, and whosever keys it says it has. */
import { beforeAll, describe, expect, it } from '@jest/globals'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { signJson } from '../../src/protocol/signing.js'
import { signRequest } from '../../src/protocol/x-matrix.js'
import { eventually } from '../support/eventually.js'
import { HostilePeer, startWithHostilePeer } from '../support/hostile-peer.js'
import { keyAnswer, newKey } from '../support/key-servers.js'
import { labServer, type Branch } from '../support/laboratory/index.js'
import { deviceKeys } from '../support/remote-users.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const other = await HostilePeer.start(authority, hearth)
const [mia, max] = [await hearth.user('mia'), await hearth.user('max')]
const v3 = '/_matrix/client/v3'
const send = (id: string) => `/_matrix/federation/v1/send/${id}`

/** Eve of the peer and Eve of the other server are in it, Mia and Max, too. */
let room: Branch
const bystander = other.user('bystander')
beforeAll(async () => {
  room = peer.room({ members: [other.eve, bystander] })
  other.rooms.set(room.roomId, room)
  await peer.letIn(mia, room)
  await peer.letIn(max, room)
  await eventually('the peer hears of Max', () => room.stateEvent('m.room.member', max.userId))
})

const state = async (): Promise<Record<string, unknown>[]> =>
  mia.ok('GET', `${v3}/rooms/${encodeURIComponent(room.roomId)}/state`)
const ids = async () => (await state()).map(({ event_id }) => event_id as string).sort()
const has = async (eventId: string) =>
  (await hearth.database.db.selectFrom('event').select('fate').where('event_id', '=', eventId).execute()).length > 0

describe('a PDU', () => {
  const victims = [other.eve, mia.userId]
  const types: readonly (readonly [string, (victim: string) => Readonly<Record<string, Json | undefined>>])[] = [
    ['m.room.message', () => ({ state_key: undefined, content: { body: 'I never said this' } })],
    ['m.room.member join', (victim) => ({ state_key: victim, content: { membership: 'join', displayname: 'x' } })],
    ['m.room.member leave', (victim) => ({ state_key: victim, content: { membership: 'leave' } })],
    ['m.room.member kick', () => ({ state_key: bystander, content: { membership: 'leave' } })],
    ['m.room.member ban', () => ({ state_key: bystander, content: { membership: 'ban' } })],
    ['m.room.member invite', () => ({ state_key: '@new:elsewhere.test', content: { membership: 'invite' } })],
    ['m.room.power_levels', (victim) => ({ state_key: '', content: { users: { [victim]: 100 } } })],
    ['m.room.name', () => ({ state_key: '', content: { name: 'not ours' } })],
    ['m.room.server_acl', () => ({ state_key: '', content: { allow: [peer.name] } })],
    ['m.room.tombstone', () => ({ state_key: '', content: { replacement_room: '!a:b' } })],
    ['m.room.create', () => ({ state_key: '', content: { room_version: '11' }, prev_events: [], auth_events: [] })],
    ['m.room.redaction', () => ({ state_key: undefined, content: { redacts: room.tips[0]!.eventId } })],
    ['org.example.mine', (victim) => ({ state_key: victim, content: {} })],
  ]

  it.each(types)('of type %s is not taken from who is not its sender’s server', async (type, keys) => {
    const before = await ids()
    const base = room.attempt(peer.eve, { type: 'm.room.message', content: {} })
    const forged = victims.flatMap((sender) => {
      const changes = { ...keys(sender), sender, type: type.split(' ')[0]!, state_key: keys(sender)['state_key'] }
      const bySelf = peer.forged(room, base, changes)
      const { [peer.name]: mine } = bySelf.pdu['signatures'] as Record<string, JsonObject>
      const victim = sender === mia.userId ? hearth.name : other.name
      const inTheirName = { ...bySelf.pdu, signatures: { [victim]: mine! } }
      const besides = { ...bySelf.pdu, signatures: { [peer.name]: mine!, [victim]: { [hearth.key.keyId]: 'AAAA' } } }
      return [bySelf.pdu, inTheirName, besides].map((pdu) => ({ eventId: bySelf.eventId, pdu }))
    })
    for (const { pdu } of forged) expect((await peer.send([pdu])).status).toBe(200)
    // Nor by way of a handshake.
    for (const { eventId, pdu } of forged) {
      for (const call of [
        'v2/send_join',
        'v1/send_join',
        'v1/send_leave',
        'v2/send_leave',
        'v1/send_knock',
        'v1/invite',
      ]) {
        const path = `/_matrix/federation/${call}/${encodeURIComponent(room.roomId)}/${encodeURIComponent(eventId)}`
        const { status } = await peer.ask('PUT', path, { content: pdu })
        expect([call, status >= 400 && status < 500]).toEqual([call, true])
      }
    }
    await peer.settled()
    for (const { eventId } of forged) expect([eventId, await has(eventId)]).toEqual([eventId, false])
    expect(await ids()).toEqual(before)
  })

  it('of another server is taken from whoever brings it, signed by its own', async () => {
    const said = room.say(other.eve, 'by way of the peer')
    expect((await peer.send([said.text])).body.pdus).toEqual({ [said.eventId]: {} })
    await eventually('it is there', () => has(said.eventId))
  })
})

describe('an EDU', () => {
  const receipt = (user: string, eventId: string): JsonObject => ({
    [room.roomId]: { 'm.read': { [user]: { event_ids: [eventId], data: { ts: 1_700_000_000_000 } } } },
  })
  const typing = (user_id: string): JsonObject => ({ room_id: room.roomId, user_id, typing: true })
  const message = (sender: string): JsonObject => ({
    sender,
    type: 'org.example.message',
    message_id: `id of ${sender}`,
    messages: { [max.userId]: { '*': { from: sender } } },
  })
  const devices = (user_id: string): JsonObject => ({
    user_id,
    device_id: 'EVIL',
    stream_id: 5,
    prev_id: [],
    keys: deviceKeys(user_id, 'EVIL'),
  })
  const signing = (user_id: string): JsonObject => ({
    user_id,
    master_key: { user_id, usage: ['master'], keys: { 'ed25519:AAAA': 'AAAA' } },
  })
  const edu = (edu_type: string, content: JsonObject): JsonObject => ({ edu_type, content })
  const all = (user: string) => [
    edu('m.typing', typing(user)),
    edu('m.receipt', receipt(user, room.tips[0]!.eventId)),
    edu('m.direct_to_device', message(user)),
    edu('m.device_list_update', devices(user)),
    edu('m.signing_key_update', signing(user)),
    edu('m.presence', { push: [{ user_id: user, presence: 'online', last_active_ago: 1 }] }),
    edu('m.typing', { ...typing(user), origin: other.name, sender: peer.eve }),
  ]
  /** Users that a sync tells something of beside the timeline. */
  const told = async (since: string): Promise<string> => {
    const { rooms, to_device, device_lists, presence } = await max.sync({ since })
    return JSON.stringify([rooms?.join?.[room.roomId]?.ephemeral, to_device, device_lists?.changed, presence])
  }

  it('of any type is taken of the peer’s own users alone, whatever the transaction says of its origin', async () => {
    const query = { device_keys: { [other.eve]: [], [bystander]: [], [peer.eve]: [] } }
    await max.ok('POST', `${v3}/keys/query`, query)
    const since = await max.syncToken()
    for (const user of [other.eve, bystander, mia.userId]) {
      expect((await peer.send([], all(user))).status).toBe(200)
      const content = { origin: other.name, origin_server_ts: 1, pdus: [], edus: all(user) }
      expect((await peer.ask('PUT', send(`lie${encodeURIComponent(user)}`), { content })).status).toBe(200)
    }
    for (const user of [other.eve, bystander, mia.userId]) expect(await told(since)).not.toContain(user)
    expect((await peer.send([], all(peer.eve), {})).status).toBe(200)
    await eventually('what the peer may say is told', async () => {
      const text = await told(since)
      return text.split(peer.eve).length > 5
    })
    const { device_keys } = await max.ok('POST', `${v3}/keys/query`, query)
    expect(Object.keys(device_keys[other.eve] ?? {})).toEqual([])
    // An update after which a list has to be asked for was taken of one server alone.
    await eventually('the peer is asked for a list', () => peer.timesAsked('devices') > 0)
  })

  it('of users of the peer who are not in the room says nothing of it', async () => {
    const since = await max.syncToken()
    const outsider = peer.user('outsider')
    const presence = { push: [{ user_id: outsider, presence: 'online', last_active_ago: 1 }] }
    await peer.send(
      [],
      [
        edu('m.typing', typing(outsider)),
        edu('m.receipt', receipt(outsider, room.tips[0]!.eventId)),
        edu('m.presence', presence),
      ],
    )
    expect(await told(since)).not.toContain(outsider)
  })
})

describe('a request', () => {
  const uri = '/_matrix/federation/v1/publicRooms'
  const sign = (change: Partial<Parameters<typeof signRequest>[0]> = {}, key = peer.key) =>
    signRequest({ method: 'GET', uri, origin: peer.name, destination: hearth.name, ...change }, key)
  const refused = { status: 401, body: { errcode: 'M_UNAUTHORIZED' } }
  const valid = sign()
  const [, signature = ''] = /sig="([^"]+)"/.exec(valid) ?? []
  const without = (name: string) => valid.replace(new RegExp(`,?${name}="[^"]*",?`), '')

  it('is who signed it', async () => {
    expect(await peer.ask('GET', uri, { authorization: valid })).toMatchObject({ status: 200 })
    // As other servers write it.
    expect(
      await peer.ask('GET', uri, { authorization: valid.replaceAll(',', ' , ').replace('X-', 'x-') }),
    ).toMatchObject({ status: 200 })
  })

  it.each<readonly [string, string]>([
    ['for another server', sign({ destination: other.name })],
    [
      'for another server, which it denies',
      sign({ destination: other.name }).replace(/destination="[^"]+"/, `destination="${hearth.name}"`),
    ],
    [
      'for another server, which it does not name',
      sign({ destination: other.name }).replace(/,destination="[^"]+"/, ''),
    ],
    ['in the name of another server', sign({ origin: other.name })],
    ['in the name of the Hearth', sign({ origin: hearth.name })],
    ['in the name of nobody', valid.replace(/origin="[^"]+"/, 'origin=""')],
    ['in two names', valid.replace('origin', `origin="${other.name}",origin`)],
    ['in two headers', `${valid}, ${sign({ origin: other.name }, other.key)}`],
    ['by a key its server does not have', sign({}, newKey('unheard'))],
    ['by another key under the same id', sign({}, other.key)],
    ['by a key with an id of another kind', valid.replace('ed25519:', 'rsa:')],
    ['of another method', sign({ method: 'POST' })],
    ['of another path', sign({ uri: `${uri}?limit=1` })],
    ['of a path with the same meaning', sign({ uri: uri.replace('public', '%70ublic') })],
    ['with content, where there is none', sign({ content: {} })],
    ['without an origin', without('origin')],
    ['without a key', without('key')],
    ['without a signature', without('sig')],
    ['with a signature that is none', valid.replace(signature, '')],
    ['with a signature that was cut', valid.replace(signature, signature.slice(0, -4))],
    [
      'with a signature that was changed',
      valid.replace(signature, `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`),
    ],
    ['with a signature of nothing', valid.replace(signature, 'A'.repeat(86))],
    ['by another scheme', valid.replace('X-Matrix', 'Bearer')],
    ['with nothing in it', 'X-Matrix '],
    ['with a quote that is open', valid.slice(0, -1)],
    ['with a megabyte of nothing', `X-Matrix ${','.repeat(10_000)}`],
  ])('signed %s is refused', async (_sentence, authorization) => {
    expect(await peer.ask('GET', uri, { authorization })).toMatchObject(refused)
  })

  it('is of no use for another one', async () => {
    const content = { pdus: [], edus: [] }
    const once = signRequest(
      { method: 'PUT', uri: send('replayed'), origin: peer.name, destination: hearth.name, content },
      peer.key,
    )
    const put = (id: string, body: JsonObject) =>
      peer.ask('PUT', send(id), { body: canonicalJson(body), authorization: once })
    expect(await put('replayed', content)).toMatchObject({ status: 200 })
    expect(await put('replayed', content)).toMatchObject({ status: 200 })
    expect(await put('another', content)).toMatchObject(refused)
    expect(await put('replayed', { ...content, pdus: [{}] })).toMatchObject(refused)
    expect(await put('replayed', { edus: [] })).toMatchObject(refused)
    expect(await peer.ask('GET', send('replayed'), { authorization: once })).toMatchObject({ status: 405 })
  })

  it('that comes again is taken once', async () => {
    const said = room.say(peer.eve, 'once')
    const content = { pdus: [JSON.parse(said.text) as JsonObject], edus: [] }
    const answers = await Promise.all([1, 2, 3].map(() => peer.ask('PUT', send('same'), { content })))
    for (const { status, body } of answers) expect([status, body]).toEqual([200, { pdus: { [said.eventId]: {} } }])
    await eventually('it is there', () => has(said.eventId))
    const { chunk } = await mia.ok('GET', `${v3}/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=20`)
    expect(chunk.filter((event: { event_id: string }) => event.event_id === said.eventId)).toHaveLength(1)
  })

  it.each<readonly [string, (name: string) => JsonObject]>([
    ['of another server', () => keyAnswer(other.name, { keys: [other.key], validUntil: Date.now() + 3_600_000 })],
    [
      'that did not sign them',
      (name) => ({
        ...keyAnswer(name, { keys: [labServer(name).key], validUntil: Date.now() + 3_600_000 }),
        signatures: {},
      }),
    ],
    [
      'that are signed by others alone',
      (name) => {
        const { signatures: _none, ...bare } = keyAnswer(name, {
          keys: [labServer(name).key],
          validUntil: Date.now() + 3_600_000,
        })
        return signJson(bare, other.name, other.key)
      },
    ],
    ['that have expired', (name) => keyAnswer(name, { keys: [labServer(name).key], validUntil: Date.now() - 1 })],
    [
      'that are old ones',
      (name) =>
        keyAnswer(name, {
          keys: [newKey('now')],
          old: [{ key: labServer(name).key, expiredTs: Date.now() + 3_600_000 }],
          validUntil: Date.now() + 3_600_000,
        }),
    ],
    [
      'of which there are none',
      (name) => ({ server_name: name, verify_keys: {}, valid_until_ts: Date.now() + 3_600_000, signatures: {} }),
    ],
  ])('of a server that shows keys %s is refused', async (_sentence, shown) => {
    const liar = await HostilePeer.start(authority, hearth)
    liar.answers('keys', () => shown(liar.name))
    expect(await liar.ask('GET', uri)).toMatchObject(refused)
    expect(await liar.ask('GET', uri, { origin: other.name })).toMatchObject(refused)
    // Nor did it put its keys into the place of another's.
    expect(await other.ask('GET', uri)).toMatchObject({ status: 200 })
  })
})

it('made no fault show', () => expect(faults).toEqual([]))
