/**
 * Any JSON in any place of what a peer sends or answers. Nothing of it may be a fault of ours, and afterwards clients sync,
 * read and are notified, and servers talk, as before. What fails is printed with its seed.
 */
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { isObject, type Json, type JsonObject } from '../../src/protocol/json.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { finishEvent } from '../../src/protocol/signing.js'
import { eventually } from '../support/eventually.js'
import { HostilePeer, startWithHostilePeer, type Operation } from '../support/hostile-peer.js'
import type { Branch, LabDraft } from '../support/laboratory/index.js'
import { deviceKeys } from '../support/remote-users.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const honest = await HostilePeer.start(authority, hearth)
const mia = await hearth.user('mia')
const v3 = '/_matrix/client/v3'

// Values

const nested = (depth: number): Json => (depth === 0 ? 1 : [nested(depth - 1)])
const value: fc.Arbitrary<Json> = fc.oneof(
  { weight: 4, arbitrary: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json> },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Json>(
      ...[
        '',
        '\0',
        'a\0b',
        '@',
        '@eve',
        '!',
        '#',
        '$',
        'mxc://',
        `@${'a'.repeat(300)}:x`,
        'x'.repeat(20_000),
        '\u202e',
        '__proto__',
      ],
      ...[0, -1, 2 ** 53 - 1, 0.5, 1e300, true, null, [], {}, [[]], [null], nested(90)],
      ...([{ a: { b: { c: [] } } }, { ['__proto__']: { a: 1 } }, { membership: 'join' }] as Json[]),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Json>(peer.eve, mia.userId, `!x:${peer.name}`, `#x:${peer.name}`, peer.name),
  },
)
/** A place: of each object on the way the key at a fraction of its keys, or one that is not there. */
const place = fc.array(fc.double({ min: 0, max: 1.1, noNaN: true }), { minLength: 1, maxLength: 4 })
const change = fc.record({ place, value })
type Change = { readonly place: readonly number[]; readonly value: Json }

function changed(json: Json, [at, ...rest]: readonly number[], value: Json): Json {
  if (at === undefined) return value
  if (Array.isArray(json)) {
    if (json.length === 0) return [value]
    const index = Math.min(Math.floor(at * json.length), json.length - 1)
    return (json as Json[]).map((item, i) => (i === index ? changed(item, rest, value) : item))
  }
  if (!isObject(json)) return value
  const keys = Object.keys(json)
  const key = keys[Math.floor(at * keys.length)] ?? 'something else'
  return { ...json, [key]: changed(json[key] ?? null, rest, value) }
}

/** To look for more than there is time for in every run. */
const longer = Number(process.env['HOSTILE_RUNS'] ?? 1)

const property = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number, check: (given: T) => Promise<void>) =>
  fc.assert(
    fc.asyncProperty(arbitrary, async (given) => {
      await check(given)
      expect(faults).toEqual([])
    }),
    { numRuns: numRuns * longer, endOnFailure: true },
  )

const noFault = ({ status, body }: { status: number; body: unknown }) =>
  expect([status === 500, body]).toEqual([false, body])

// Afterwards

let quiet: Branch
beforeAll(async () => {
  quiet = await honest.roomWith([mia])
})
let said = 0

/** Everything goes on, in the rooms that were hurt and in those that were not. */
async function everythingGoesOn(hurt: readonly string[] = []): Promise<void> {
  const since = await mia.syncToken()
  const body = `mia, this is number ${++said}`
  const message = quiet.say(honest.eve, body)
  expect((await honest.send([message.text])).status).toBe(200)
  await eventually('the message is synced', async () => {
    const { rooms } = await mia.sync({ since })
    const { timeline, unread_notifications } = rooms?.join?.[quiet.roomId] ?? { timeline: { events: [] } }
    const is = timeline.events.some((event: { content: JsonObject }) => event.content['body'] === body)
    if (is) expect(unread_notifications.notification_count).toBeGreaterThan(0)
    return is
  })
  const mine = await mia.say(quiet.roomId, body)
  await eventually('the honest server hears of ours', () => quiet.judged.find(mine))
  for (const roomId of hurt) {
    const path = `${v3}/rooms/${encodeURIComponent(roomId)}`
    for (const part of ['messages?dir=b&limit=100', 'state', 'members', 'joined_members', 'aliases']) {
      noFault(await mia.get(`${path}/${part}`))
    }
    noFault(await mia.get(`/_matrix/client/v1/room_summary/${encodeURIComponent(roomId)}`))
    noFault(await mia.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`))
  }
  noFault(await mia.get(`${v3}/publicRooms`))
  noFault(await mia.get(`${v3}/notifications`))
  expect(Object.keys((await mia.sync({ full_state: true })).rooms.join)).toContain(quiet.roomId)
  expect(faults).toEqual([])
}

afterEach(() => void peer.honestly())

describe('any JSON', () => {
  const state = (type: string, content: JsonObject, stateKey = ''): LabDraft => ({ type, stateKey, content })
  const drafts: readonly ((room: Branch) => LabDraft)[] = [
    () => ({
      type: 'm.room.message',
      content: {
        msgtype: 'm.text',
        body: 'x',
        format: 'a',
        formatted_body: 'b',
        'm.mentions': { user_ids: [mia.userId], room: true },
        'm.relates_to': { rel_type: 'm.replace', event_id: '$x', 'm.in_reply_to': { event_id: '$x' } },
        'm.new_content': { body: 'y' },
      },
    }),
    ({ tips }) => ({
      type: 'm.reaction',
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: tips[0]!.eventId, key: 'k' } },
    }),
    ({ tips }) => ({ type: 'm.room.redaction', redacts: tips[0]!.eventId, content: { reason: 'x' } }),
    () => ({ type: 'm.room.encrypted', content: { algorithm: 'a', ciphertext: 'x', device_id: 'D', session_id: 's' } }),
    () =>
      state(
        'm.room.member',
        {
          membership: 'join',
          displayname: 'Eve',
          avatar_url: 'mxc://a/b',
          reason: 'x',
          is_direct: true,
          third_party_invite: { display_name: 'x', signed: { mxid: 'x', token: 't', signatures: {} } },
        },
        peer.eve,
      ),
    () => state('m.room.member', { membership: 'invite' }, mia.userId),
    () => state('m.room.name', { name: 'x' }),
    () => state('m.room.topic', { topic: 'x', 'm.topic': { 'm.text': [{ body: 'x' }] } }),
    () => state('m.room.avatar', { url: 'mxc://a/b', info: { w: 1 } }),
    () => state('m.room.canonical_alias', { alias: `#x:${peer.name}`, alt_aliases: [`#y:${peer.name}`] }),
    () => state('m.room.history_visibility', { history_visibility: 'shared' }),
    () => state('m.room.guest_access', { guest_access: 'can_join' }),
    () => state('m.room.server_acl', { allow: ['*'], deny: ['evil'], allow_ip_literals: true }),
    () => state('m.room.encryption', { algorithm: 'x', rotation_period_ms: 1 }),
    () => state('m.room.tombstone', { body: 'x', replacement_room: '!x:y' }),
    () => state('m.room.pinned_events', { pinned: ['$x'] }),
    () => state('m.space.child', { via: [peer.name], order: 'a', suggested: true }, `!x:${peer.name}`),
    () => state('m.space.parent', { via: [peer.name], canonical: true }, `!x:${peer.name}`),
    () =>
      state(
        'm.room.third_party_invite',
        { display_name: 'x', key_validity_url: 'https://x', public_key: 'x', public_keys: [{ public_key: 'x' }] },
        'token',
      ),
    () => state('m.room.policy', { via: peer.name, public_keys: { ed25519: 'x' } }),
    () =>
      state('m.room.join_rules', { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: '!x:y' }] }),
    (room) =>
      state(
        'm.room.power_levels',
        room.levelsWith({ users_default: 0, events: { 'm.room.name': 50 }, notifications: { room: 50 }, ban: 50 }),
      ),
  ]
  const mutated = fc.record({ draft: fc.nat(drafts.length - 1), change })

  it.each(['1', '11', '12'])('in the PDUs of a room of version %s', async (version) => {
    await property(fc.array(mutated, { minLength: 30, maxLength: 40 }), 2, async (given) => {
      const room = await peer.roomWith([mia], { version })
      const pdus = given.map(({ draft, change: { place, value } }, i) => {
        const { pdu } = room.attempt(peer.eve, drafts[draft]!(room)).event
        const { hashes: _hashes, signatures: _signatures, ...bare } = changed(pdu, place, value) as JsonObject
        const rules = { ...room.rules, strictCanonicalJson: false }
        // Every other one is hurt where its hash tells nothing.
        if (i % 4 === 3) return changed(pdu, place, value) as JsonObject
        return finishEvent(rules, isObject(bare) ? (bare as JsonObject) : {}, peer.name, peer.key).pdu
      })
      noFault(await peer.send(pdus))
      await peer.settled()
      await everythingGoesOn([room.roomId])
    })
  })

  it('in EDUs', async () => {
    const contents: readonly (readonly [string, JsonObject])[] = [
      ['m.typing', { room_id: quiet.roomId, user_id: peer.eve, typing: true }],
      [
        'm.receipt',
        { [quiet.roomId]: { 'm.read': { [peer.eve]: { event_ids: ['$x'], data: { ts: 1, thread_id: 'main' } } } } },
      ],
      ['m.presence', { push: [{ user_id: peer.eve, presence: 'online', last_active_ago: 1, status_msg: 'x' }] }],
      [
        'm.direct_to_device',
        { sender: peer.eve, type: 'x', message_id: 'm', messages: { [mia.userId]: { '*': { a: 1 } } } },
      ],
      [
        'm.device_list_update',
        {
          user_id: peer.eve,
          device_id: 'D',
          stream_id: 1,
          prev_id: [],
          keys: deviceKeys(peer.eve, 'D'),
          device_display_name: 'x',
        },
      ],
      [
        'm.signing_key_update',
        {
          user_id: peer.eve,
          master_key: { user_id: peer.eve, usage: ['master'], keys: { 'ed25519:a': 'a' } },
          self_signing_key: {},
        },
      ],
      ['org.example.unknown', {}],
    ]
    await mia.ok('POST', `${v3}/keys/query`, { device_keys: { [peer.eve]: [] } })
    const edu = fc.record({ of: fc.nat(contents.length - 1), change })
    await property(fc.array(edu, { minLength: 90, maxLength: 100 }), 3, async (given) => {
      const edus = given.map(({ of, change: { place, value } }) => {
        const [edu_type, content] = contents[of]!
        return changed({ edu_type, content }, place, value)
      })
      expect((await peer.send([], edus)).status).toBe(200)
      await everythingGoesOn()
    })
  })

  it('in invites, joins, leaves and knocks that come', async () => {
    const open = await mia.createRoom({ preset: 'public_chat', room_version: '11' })
    await property(fc.array(change, { minLength: 10, maxLength: 15 }), 2, async (given) => {
      for (const { place, value } of given) {
        const room = peer.room()
        const base = room.attempt(peer.eve, state('m.room.member', { membership: 'invite' }, mia.userId)).event.pdu
        const { eventId, pdu } = finishEvent(rulesOf('11')!, base, peer.name, peer.key)
        const shown = ['m.room.create', 'm.room.join_rules'].map(
          (type) => room.stateEvent(type)!.event.pdu as JsonObject,
        )
        const body = {
          room_version: '11',
          event: pdu,
          invite_room_state: [
            ...shown,
            { type: 'm.room.name', state_key: '', sender: peer.eve, content: { name: 'x' } },
          ],
        }
        const at = `${encodeURIComponent(room.roomId)}/${encodeURIComponent(eventId)}`
        noFault(
          await peer.ask('PUT', `/_matrix/federation/v2/invite/${at}`, {
            content: objectOf(changed(body, place, value)),
          }),
        )
        noFault(
          await peer.ask('PUT', `/_matrix/federation/v1/invite/${at}`, {
            content: objectOf(changed({ ...pdu, unsigned: { invite_room_state: shown } }, place, value)),
          }),
        )
        for (const membership of ['join', 'leave', 'knock']) {
          const joining = peer.user('joining')
          const { body: template } = await peer.ask(
            'GET',
            `/_matrix/federation/v1/make_${membership}/${encodeURIComponent(open)}/${encodeURIComponent(joining)}?ver=11`,
          )
          const event = template.event ?? {
            type: 'm.room.member',
            room_id: open,
            sender: joining,
            state_key: joining,
            content: { membership },
            prev_events: [],
            auth_events: [],
            depth: 1,
            origin_server_ts: 1,
          }
          const hurt = objectOf(changed(event, place, value))
          const { eventId: id, pdu: made } = finishEvent(
            { ...rulesOf('11')!, strictCanonicalJson: false },
            hurt,
            peer.name,
            peer.key,
          )
          const version = membership === 'knock' ? 'v1' : 'v2'
          noFault(
            await peer.ask(
              'PUT',
              `/_matrix/federation/${version}/send_${membership}/${encodeURIComponent(open)}/${encodeURIComponent(id)}`,
              { content: made },
            ),
          )
        }
      }
      await everythingGoesOn([open])
    })
  })

  /** How the peer is made to be asked for each. */
  const asking: Readonly<Partial<Record<Operation, () => Promise<{ status: number; body: unknown } | void>>>> = {
    make_join: () => join(),
    send_join: () => join(),
    make_knock: () => knock(),
    send_knock: () => knock(),
    make_leave: () => refuse(),
    send_leave: () => refuse(),
    invite: async () => {
      const roomId = await mia.createRoom({ preset: 'private_chat' })
      return mia.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: peer.user('invited') })
    },
    profile: () => mia.get(`${v3}/profile/${encodeURIComponent(peer.user('x'))}`),
    directory: () => mia.get(`${v3}/directory/room/${encodeURIComponent(`#x:${peer.name}`)}`),
    public_rooms: () => mia.get(`${v3}/publicRooms?server=${peer.name}`),
    hierarchy: async () => {
      const roomId = await mia.createRoom({ preset: 'private_chat', creation_content: { type: 'm.space' } })
      await mia.ok(
        'PUT',
        `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.space.child/${encodeURIComponent(peer.room().roomId)}`,
        { via: [peer.name] },
      )
      return mia.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`)
    },
    keys_query: () => mia.post(`${v3}/keys/query`, { device_keys: { [peer.user('x')]: [] } }),
    keys_claim: () => mia.post(`${v3}/keys/claim`, { one_time_keys: { [peer.user('x')]: { D: 'signed_curve25519' } } }),
    missing_events: () => gap('missing_events'),
    state_ids: () => gap('state_ids'),
    state: () => gap('state'),
    event: () => gap('event'),
    event_auth: () => gap('event_auth'),
    backfill: async () => {
      const room = peer.room()
      for (let i = 0; i < 5; i++) room.say(peer.eve, `before ${i}`)
      await peer.letIn(mia, room)
      return mia.get(`${v3}/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=50`)
    },
  }
  const join = () => mia.post(`${v3}/join/${encodeURIComponent(peer.room().roomId)}?via=${peer.name}`, {})
  const knock = () => {
    const room = peer.room({ joinRules: { join_rule: 'knock' } })
    return mia.post(`${v3}/knock/${encodeURIComponent(room.roomId)}?via=${peer.name}`, {})
  }
  async function refuse() {
    const room = peer.room()
    const invite = room.invite(peer.eve, mia.userId)
    expect((await peer.invite(room, { eventId: invite.eventId, pdu: invite.event.pdu as JsonObject })).status).toBe(200)
    const answer = await mia.post(`${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {})
    // Whatever the peer says to it, the user is rid of the invite.
    expect(answer.status).toBe(200)
    expect((await mia.sync()).rooms?.invite?.[room.roomId]).toBeUndefined()
    return answer
  }
  async function gap(operation: Operation) {
    const room = gapRoom!
    const [lie] = [liesOf.get(operation)!]
    if (operation !== 'missing_events') peer.answers('missing_events', () => ({ events: [] }))
    peer.answers(operation, lie)
    room.topic(peer.eve, `lost ${Math.random()}`)
    const tip = room.say(peer.eve, 'after the gap')
    noFault(await peer.send([tip.text]))
    await peer.settled()
  }
  let gapRoom: Branch | undefined
  const liesOf = new Map<Operation, Parameters<HostilePeer['answers']>[1]>()
  beforeAll(async () => {
    gapRoom = await peer.roomWith([mia])
  })

  it.each(Object.keys(asking) as Operation[])('in the answer to %s', async (operation) => {
    await property(
      fc.array(fc.option(change, { freq: 8, nil: undefined }), { minLength: 5, maxLength: 8 }),
      1,
      async (given) => {
        for (const one of given as (Change | undefined)[]) {
          liesOf.set(operation, (honestly) => (one === undefined ? nonsense : changed(honestly, one.place, one.value)))
          peer.answers(operation, liesOf.get(operation)!)
          const answer = await asking[operation]!()
          if (answer !== undefined) noFault(answer)
          expect(faults).toEqual([])
        }
      },
    )
    peer.honestly()
    await everythingGoesOn()
  })
})

const nonsense = '{"a":1,"a":2} ]'
const objectOf = (json: Json): JsonObject => (isObject(json) ? json : {})
