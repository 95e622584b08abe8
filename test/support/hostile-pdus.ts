/**
 * PDUs as a hostile server would make them, each with the fate it must have. The same table is judged by the rules alone
 * (test/protocol/hostile-pdus.test.ts) and sent through the whole of inbound (test/room/hostile-pdus.test.ts).
 *
 * In the room of the table Alice and Bob of one.example and Carol of two.example are joined, Dave of two.example was
 * banned, and Alice alone has power. Either server is hostile in some of the rows, and signs what it likes in its own name.
 */
import { encodeBase64 } from '../../src/protocol/base64.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { referenceHash } from '../../src/protocol/hashes.js'
import { own, type Json, type JsonObject } from '../../src/protocol/json.js'
import type { RoomVersionRules } from '../../src/protocol/room-versions.js'
import { finishEvent, signEvent, signingKeyFromSeed } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import {
  alice,
  bob,
  type Branch,
  carol,
  dave,
  erin,
  type LabDraft,
  type LabEvent,
  type LabServer,
  labRoom,
  labServer,
  serverOf,
} from './laboratory/index.js'

/** redacted: stored without what its content hash does not cover, and then accepted. staged: neither accepted nor refused. */
export type HostileFate = 'accepted' | 'redacted' | 'rejected' | 'soft-failed' | 'dropped' | 'staged'

export interface HostileRoom {
  readonly room: Branch
  /** The tip before Dave was banned. */
  readonly beforeBan: readonly LabEvent[]
  /** Power levels that Carol tried to set. */
  readonly rejected: LabEvent
  /** Another room of the same people. */
  readonly other: Branch
}

export interface HostilePdu {
  readonly sentence: string
  readonly fate: HostileFate | ((version: number) => HostileFate | undefined)
  /** Through inbound, where that knows less than the rules are told here. */
  readonly inbound?: HostileFate
  /** The JSON text that comes. */
  make(room: HostileRoom): string
}

export const fateIn = ({ fate }: HostilePdu, version: string): HostileFate | undefined =>
  typeof fate === 'string' ? fate : fate(Number(version))

/** `name` tells apart rooms that are in one database. `members` join beside those of the table. */
export function hostileRoom(version: string, name = 'hostile', members: readonly string[] = []): HostileRoom {
  const make = (name: string) => labRoom({ version, name, create: { name }, members: [bob, carol, dave, ...members] })
  const [room, other] = [make(name), make(`${name}-elsewhere`)]
  const beforeBan = room.tips
  room.ban(alice, dave)
  const rejected = room.attempt(carol, {
    type: 'm.room.power_levels',
    stateKey: '',
    content: { users: { [carol]: 100 } },
  })
  return { room, beforeBan, rejected, other }
}

// How they are made: an ordinary PDU, changed, then hashed and signed again.

type Change = (pdu: JsonObject, room: HostileRoom) => JsonObject

/** Signing knows no strict numbers: a hostile server does not mind. */
const lax = (rules: RoomVersionRules): RoomVersionRules => ({ ...rules, strictCanonicalJson: false })

const message: LabDraft = { type: 'm.room.message', content: { body: 'x' } }

function signed(rules: RoomVersionRules, pdu: JsonObject, servers: readonly LabServer[]): string {
  const { hashes: _hashes, signatures: _signatures, ...bare } = pdu
  const [first, ...others] = servers
  const { pdu: finished } = finishEvent(lax(rules), bare, first!.name, first!.key)
  return write(others.reduce((all, { name, key }) => signEvent(lax(rules), all, name, key), finished))
}

const write = (pdu: JsonObject): string => canonicalJson(pdu, 'any')

interface Making {
  readonly sender?: string
  readonly draft?: LabDraft | ((room: HostileRoom) => LabDraft)
  /** Before it is hashed and signed. */
  readonly change?: Change
  readonly signedBy?: readonly string[]
  /** Afterwards. */
  readonly tamper?: (text: string, room: HostileRoom) => string
}

const forged =
  ({ sender = carol, draft = message, change = (pdu) => pdu, signedBy, tamper = (text) => text }: Making) =>
  (room: HostileRoom): string => {
    const { rules } = room.room
    const made = room.room.attempt(sender, typeof draft === 'function' ? draft(room) : draft)
    const base =
      rules.eventIdFormat === 'in-pdu'
        ? { ...made.event.pdu, event_id: `$new:${serverOf(sender).name}` }
        : made.event.pdu
    const servers = signedBy?.map(labServer) ?? [serverOf(sender)]
    return tamper(signed(rules, change(base, room), servers), room)
  }

const tampered = (change: Change) => (text: string, room: HostileRoom) =>
  write(change(JSON.parse(text) as JsonObject, room))

const with_ =
  (keys: Readonly<Record<string, Json | undefined>>): Change =>
  (pdu) => ({ ...pdu, ...keys })

const content = (content: JsonObject): Making => ({ draft: { type: 'm.room.message', content } })

/** A text written in place of the string "@@", where a value cannot say how it is written. */
const written = (raw: string): Making => ({
  ...content({ body: '@@' }),
  tamper: (text) => text.replace('"@@"', () => raw),
})

/** Hashed and signed with the number in it: honest but for that. */
const number = (value: Json): Making => ({ change: with_({ content: { body: value } }) })

const pad =
  (bytes: number) =>
  (pdu: JsonObject, { room: { rules } }: HostileRoom): JsonObject => {
    const padded = (length: number) => ({ ...pdu, content: { body: 'é'.repeat(length >> 1) + 'a'.repeat(length & 1) } })
    const without = Buffer.byteLength(signed(rules, padded(0), [serverOf(carol)]))
    return padded(bytes - without)
  }

const until = (last: number, before: HostileFate, after: HostileFate) => (version: number) =>
  version <= last ? before : after
/** A row of some versions only. */
const only = (applies: (version: number) => boolean, fate: HostileFate) => (version: number) =>
  applies(version) ? fate : undefined

const referenceTo = ({ rules }: Branch, { eventId, event }: LabEvent): Json =>
  rules.eventReferenceFormat === 'id' ? eventId : [eventId, { sha256: encodeBase64(referenceHash(rules, event.pdu)) }]
const unheard = ({ rules }: Branch, index = 0): Json =>
  rules.eventReferenceFormat === 'id'
    ? `$${String(index).padStart(43, 'u')}`
    : [`$unheard${index}:two.example`, { sha256: 'x' }]

/** The auth events of the ordinary message, with some more, or otherwise. */
const auth = (
  change: (events: readonly LabEvent[], room: HostileRoom) => readonly LabEvent[],
  sender = carol,
): Making => ({
  sender,
  change: (pdu, room) => {
    const selected = (['m.room.create', 'm.room.power_levels', 'm.room.member'] as const)
      .filter((type) => type !== 'm.room.create' || room.room.rules.createInAuthEvents)
      .map((type) => room.room.stateEvent(type, type === 'm.room.member' ? sender : '')!)
    return { ...pdu, auth_events: change(selected, room).map((event) => referenceTo(room.room, event)) }
  },
})

const stateOf = (room: Branch, type: string, key = ''): LabEvent => room.stateEvent(type, key)!
const ofType = (type: string) => (event: LabEvent) => event.event.type === type
const replace = (events: readonly LabEvent[], event: LabEvent): readonly LabEvent[] =>
  events.map((one) => (one.event.type === event.event.type ? event : one))

const member = (stateKey: string, membership: Json, more: JsonObject = {}): LabDraft => ({
  type: 'm.room.member',
  stateKey,
  content: { ...more, membership },
})

/** Power levels that Alice may set. */
const levels = ({ rules }: Branch, content: JsonObject, own: Json = 100): LabDraft => ({
  type: 'm.room.power_levels',
  stateKey: '',
  content: { ...content, users: rules.privilegedCreators ? {} : { [alice]: own } },
})

const createContent = (rules: RoomVersionRules, sender: string): JsonObject => ({
  room_version: rules.version,
  ...(rules.creatorInCreateContent ? { creator: sender } : {}),
})

/** Another create event for the room. */
const create = (sender: string, keys: Readonly<Record<string, Json | undefined>> = {}): Making => ({
  sender,
  change: (pdu, { room }) => ({
    ...pdu,
    type: 'm.room.create',
    state_key: '',
    content: createContent(room.rules, sender),
    ...(room.rules.roomIdIsCreateHash ? { room_id: undefined } : {}),
    prev_events: [],
    auth_events: [],
    depth: 1,
    ...keys,
  }),
})

const redacting = (redacts: string) => () => ({ type: 'm.room.redaction', redacts })

const everyKey = (value: Json): JsonObject =>
  Object.fromEntries(
    ['name', 'topic', 'alias', 'alt_aliases', 'join_rule', 'history_visibility', 'allow'].map((key) => [key, value]),
  )

const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`

const required = [
  'type', 'sender', 'room_id', 'content', 'depth', 'origin_server_ts', 'prev_events', 'auth_events', 'hashes', 'signatures',
] // prettier-ignore

const row = (sentence: string, fate: HostilePdu['fate'], making: Making): HostilePdu => ({
  sentence,
  fate,
  make: forged(making),
})

/** Sentence, fate, making. */
export const hostilePdus: readonly HostilePdu[] = [
  row('an ordinary message', 'accepted', {}),

  // What is JSON
  row('text that is no JSON', 'dropped', { tamper: (text) => text.slice(0, -1) }),
  row('a list', 'dropped', { tamper: (text) => `[${text}]` }),
  row('null', 'dropped', { tamper: () => 'null' }),
  row('a key that comes twice', 'dropped', { tamper: (text) => text.replace('{', '{"depth":1,') }),
  row('a key that comes twice, escaped', 'dropped', { tamper: (text) => text.replace('{', '{"d\\u0065pth":1,') }),
  row('half a surrogate pair', 'dropped', written('"\\ud83d"')),
  row('half a surrogate pair in a key', 'dropped', written('{"\\udc00":1}')),
  row('arrays in arrays, deeper than anybody reads', 'dropped', written(nested(1_000))),
  row('arrays in arrays, 30,000 deep', 'dropped', written(nested(30_000))),
  row('arrays in arrays, 300 deep', 'accepted', content({ body: JSON.parse(nested(300)) as Json })),
  row('__proto__ and constructor as keys', 'accepted', {
    ...content(JSON.parse('{"__proto__":{"membership":"ban"},"constructor":{"prototype":1},"body":"x"}') as JsonObject),
  }),
  row('__proto__ as a key beside type and sender', 'accepted', {
    change: (pdu) => ({
      ...pdu,
      ...(JSON.parse('{"x":1,"__proto__":{"type":"m.room.create"}}') as JsonObject),
      ['__proto__']: 1,
    }),
  }),
  row('NUL in its content', 'accepted', content({ body: '\0', '\0': 1 })),
  row('keys nobody knows, hashed and signed', 'accepted', {
    change: with_({ extra: { a: [1] }, origin: 5, redacts: [] }),
  }),

  // Numbers
  row('a float', until(5, 'accepted', 'dropped'), number(50.57)),
  row('an integer beyond 2^53', until(5, 'accepted', 'dropped'), number(2 ** 60)),
  row(
    'numbers that JSON.parse would alter',
    until(5, 'accepted', 'dropped'),
    number(parseExactJson('[1.0,-0.0,1e5,1152921504606846977]')),
  ),
  row('-0', until(5, 'accepted', 'dropped'), {
    ...content({ body: 0 }),
    tamper: (text) => text.replace('"body":0', '"body":-0'),
  }),
  row('a float that was changed to an integer of the same value', until(5, 'redacted', 'dropped'), {
    ...content({ body: 1 }),
    tamper: (text) => text.replace('"body":1', '"body":1.0'),
  }),
  row('a number beyond any double', 'dropped', written('1e400')),
  row('NaN', 'dropped', written('NaN')),
  row('a float in unsigned', until(5, 'accepted', 'dropped'), { tamper: tampered(with_({ unsigned: { age: 0.5 } })) }),

  // Fields
  ...required.map((key) => row(`no ${key}`, 'dropped', { tamper: tampered(with_({ [key]: undefined })) })),
  ...required.map((key) => row(`${key} that is null`, 'dropped', { tamper: tampered(with_({ [key]: null })) })),
  row('a depth below zero', 'dropped', { change: with_({ depth: -1 }) }),
  row('a depth that is a string', 'dropped', { change: with_({ depth: '7' }) }),
  row('a depth that is a float', 'dropped', { change: with_({ depth: 7.5 }) }),
  row('a depth of 2^53 - 1', 'accepted', { change: with_({ depth: 2 ** 53 - 1 }) }),
  row('a depth of 2^53', until(5, 'accepted', 'dropped'), { change: with_({ depth: 2 ** 53 }) }),
  row('a depth of 2^63', 'dropped', { change: with_({ depth: 2 ** 63 }) }),
  row('a time before all times', 'accepted', { change: with_({ origin_server_ts: -(2 ** 53) + 1 }) }),
  row('a time that is no integer of 64 bits', 'dropped', { change: with_({ origin_server_ts: 1e300 }) }),
  row('a type of 255 bytes', 'accepted', { draft: { type: 't'.repeat(255) } }),
  row('a type of 256 bytes in 128 characters', until(10, 'accepted', 'dropped'), { draft: { type: 'é'.repeat(128) } }),
  row('a type of 256 characters', 'dropped', { change: with_({ type: 't'.repeat(256) }) }),
  row('a type with NUL', 'accepted', { draft: { type: 'a\0b' } }),
  row('state with a key of 1,020 bytes in 255 characters', until(10, 'accepted', 'dropped'), {
    sender: alice,
    draft: { type: 'a', stateKey: '💥'.repeat(255) },
  }),
  row('a state key of 256 characters', 'dropped', { change: with_({ state_key: '💥'.repeat(256) }) }),
  row('state with NUL in type and key, from who may not', 'rejected', {
    draft: { type: 'a\0b', stateKey: '\0\ud83d\ude00' },
  }),
  row('state with NUL in type and key, from who may', 'accepted', {
    sender: alice,
    draft: { type: 'a\0b', stateKey: '\0\ud83d\ude00' },
  }),
  row('65,536 bytes', 'accepted', { change: pad(65_536) }),
  row('65,537 bytes', 'dropped', { change: pad(65_537) }),
  row('a sender without a server', 'dropped', { change: with_({ sender: '@carol' }) }),
  row('a sender with NUL', 'dropped', { change: with_({ sender: '@ca\0rol:two.example' }) }),
  row('a sender of 256 bytes', 'dropped', { change: with_({ sender: `@${'é'.repeat(122)}:two.example` }) }),
  row('a historical sender who joins', 'accepted', {
    sender: '@Ärol /😀:two.example',
    draft: member('@Ärol /😀:two.example', 'join'),
  }),

  // Rooms
  row('a room id of another form', 'dropped', {
    change: (pdu, { room }) => ({
      ...pdu,
      room_id: room.rules.roomIdIsCreateHash ? '!hostile:one.example' : '!hostile',
    }),
  }),
  row('a message of another room', 'dropped', {
    change: (pdu, { other }) => ({ ...pdu, room_id: other.roomId }),
  }),
  row('a message of a room nobody knows', 'dropped', {
    change: (pdu, { room }) => ({
      ...pdu,
      room_id: room.rules.roomIdIsCreateHash ? `!${'n'.repeat(43)}` : '!nowhere:two.example',
    }),
  }),

  // Ids and signatures
  row('no signatures', 'dropped', { tamper: tampered(with_({ signatures: {} })) }),
  row('signed by another server than the sender’s', 'dropped', { sender: bob, signedBy: ['two.example'] }),
  row('signed by another server, in the name of the sender’s', 'dropped', {
    sender: bob,
    signedBy: ['two.example'],
    tamper: tampered((pdu) => ({
      ...pdu,
      signatures: { 'one.example': (pdu['signatures'] as JsonObject)['two.example'] as JsonObject },
    })),
  }),
  row('signed by a key its server does not have', 'dropped', {
    tamper: (text, { room }) => {
      const { signatures: _signatures, ...pdu } = JSON.parse(text) as JsonObject
      const key = signingKeyFromSeed('unheard', new Uint8Array(32).fill(7))
      return write(signEvent(lax(room.rules), pdu, 'two.example', key))
    },
  }),
  row('an invite nobody of its sender signed, a third-party invite until its hash is looked at', 'dropped', {
    sender: alice,
    draft: member(erin, 'invite'),
    change: (pdu) => (own(pdu, 'event_id') === undefined ? pdu : { ...pdu, event_id: '$forged:two.example' }),
    signedBy: ['two.example'],
    tamper: tampered(with_({ content: { membership: 'invite', third_party_invite: 'x' } })),
  }),
  row('a signature that is no base64', 'dropped', {
    tamper: tampered(with_({ signatures: { 'two.example': { 'ed25519:lab': '§' } } })),
  }),
  row('other people’s signatures beside the right one', 'accepted', {
    tamper: tampered((pdu) => ({
      ...pdu,
      signatures: { ...(pdu['signatures'] as JsonObject), 'one.example': { 'ed25519:lab': 'x' }, '': { '': '' } },
    })),
  }),
  row('an event id of another server', until(2, 'dropped', 'accepted'), {
    change: with_({ event_id: '$forged:one.example' }),
  }),
  row('an event id of another server that signed it, too', 'accepted', {
    change: with_({ event_id: '$agreed:one.example' }),
    signedBy: ['two.example', 'one.example'],
  }),
  row('an event id with NUL', (version) => (version <= 2 ? 'dropped' : undefined), {
    change: with_({ event_id: '$a\0:two.example' }),
  }),
  row('a content that was changed on its way', 'redacted', {
    tamper: tampered(with_({ content: { body: 'changed' } })),
  }),
  row('a key that was added on its way', 'redacted', { tamper: tampered(with_({ extra: 1 })) }),
  row('a sender that was changed on its way', 'dropped', { tamper: tampered(with_({ sender: '@eve:two.example' })) }),
  row('hashes without sha256', 'dropped', { tamper: tampered(with_({ hashes: {} })) }),
  row('a hash that is no base64', 'dropped', { tamper: tampered(with_({ hashes: { sha256: '§' } })) }),

  // Prev events
  row(
    'itself as a prev event',
    only((version) => version <= 2, 'dropped'),
    {
      change: with_({ event_id: '$itself:two.example', prev_events: [['$itself:two.example', { sha256: 'x' }]] }),
    },
  ),
  row(
    'itself as an auth event',
    only((version) => version <= 2, 'dropped'),
    {
      change: with_({ event_id: '$itself:two.example', auth_events: [['$itself:two.example', { sha256: 'x' }]] }),
    },
  ),
  row('a prev event nobody has heard of', 'staged', {
    change: (pdu, { room }) => ({ ...pdu, prev_events: [unheard(room)] }),
  }),
  row('21 prev events', 'dropped', {
    change: (pdu, { room }) => ({
      ...pdu,
      prev_events: Array.from({ length: 21 }, (_, index) => unheard(room, index)),
    }),
  }),
  row('one prev event twenty times', 'accepted', {
    change: (pdu) => ({ ...pdu, prev_events: Array.from({ length: 20 }, () => (pdu['prev_events'] as Json[])[0]!) }),
  }),
  row('no prev events', 'rejected', { change: with_({ prev_events: [] }) }),
  row('a rejected event as its prev event', 'accepted', {
    change: (pdu, { room, rejected }) => ({ ...pdu, prev_events: [referenceTo(room, rejected)] }),
  }),
  row(
    'a prev event with a hash that is not its own',
    only((version) => version <= 2, 'accepted'),
    {
      change: (pdu) => ({
        ...pdu,
        prev_events: (pdu['prev_events'] as Json[][]).map(([eventId]) => [eventId!, { sha256: 'wrong' }]),
      }),
    },
  ),

  // Auth events
  row('11 auth events', 'dropped', {
    change: (pdu, { room }) => ({
      ...pdu,
      auth_events: Array.from({ length: 11 }, (_, index) => unheard(room, index)),
    }),
  }),
  row('an auth event nobody has heard of', 'staged', {
    change: (pdu, { room }) => ({ ...pdu, auth_events: [...(pdu['auth_events'] as Json[]), unheard(room)] }),
  }),
  row('no auth events', 'rejected', { change: with_({ auth_events: [] }) }),
  row(
    'an auth event twice',
    'rejected',
    auth((events) => [...events, events.at(-1)!]),
  ),
  row(
    'two auth events of one type and key',
    'rejected',
    auth((events, { room }) => [
      ...events,
      room.events.find((event) => event.event.type === 'm.room.member' && event.event.stateKey === dave)!,
      stateOf(room, 'm.room.member', dave),
    ]),
  ),
  row(
    'an auth event that has no place there',
    'rejected',
    auth((events, { room }) => [...events, stateOf(room, 'm.room.join_rules')]),
  ),
  row(
    'an auth event of another user',
    'rejected',
    auth((events, { room }) => [...events, stateOf(room, 'm.room.member', alice)]),
  ),
  row(
    'a rejected auth event',
    'rejected',
    auth((events, { rejected }) => replace(events, rejected)),
  ),
  row(
    'auth events of another room',
    'rejected',
    auth((_events, { room, other }) => [
      ...(room.rules.createInAuthEvents ? [stateOf(other, 'm.room.create')] : []),
      stateOf(other, 'm.room.power_levels'),
      stateOf(other, 'm.room.member', carol),
    ]),
  ),
  row(
    'auth events of its room, and one of another',
    'rejected',
    auth((events, { other }) => replace(events, stateOf(other, 'm.room.power_levels'))),
  ),
  row(
    'no m.room.create among its auth events',
    until(11, 'rejected', 'accepted'),
    auth((events) => events.filter((event) => !ofType('m.room.create')(event))),
  ),
  row(
    'm.room.create among its auth events',
    until(11, 'accepted', 'rejected'),
    auth((events, { room }) =>
      events.some(ofType('m.room.create')) ? events : [stateOf(room, 'm.room.create'), ...events],
    ),
  ),
  row(
    'no membership among its auth events',
    'rejected',
    auth((events) => events.filter((event) => !ofType('m.room.member')(event))),
  ),
  row(
    'no power levels among its auth events',
    'accepted',
    auth((events) => events.filter((event) => !ofType('m.room.power_levels')(event))),
  ),

  // Creating
  row('a second create event by a server that did not make the room', until(11, 'rejected', 'dropped'), create(carol)),
  {
    ...row(
      'a second create event by the server that made the room, which the rules alone allow',
      only((version) => version < 12, 'accepted'),
      create(alice),
    ),
    inbound: 'rejected',
  },
  row(
    'a create event with a room id',
    only((version) => version >= 12, 'rejected'),
    {
      ...create(carol),
      change: (pdu, room) => ({ ...create(carol).change!(pdu, room), room_id: room.room.roomId }),
    },
  ),
  row('a create event with prev events', 'rejected', {
    sender: alice,
    change: (pdu, { room }) => ({
      ...pdu,
      type: 'm.room.create',
      state_key: '',
      content: createContent(room.rules, alice),
      auth_events: [],
    }),
  }),

  // Rules
  row('a message of who is not in the room', 'rejected', { sender: erin }),
  row('a message of who was banned meanwhile, made as if before', 'soft-failed', {
    sender: dave,
    draft: ({ beforeBan }) => ({ ...message, prevEvents: beforeBan }),
  }),
  row('the join of somebody else', 'rejected', { draft: member('@eve:two.example', 'join') }),
  row('a membership without a state key', 'rejected', {
    draft: { type: 'm.room.member', content: { membership: 'join' } },
  }),
  row('a membership that is no string', 'rejected', { draft: member(carol, { membership: 'join' }) }),
  row('a membership with NUL', 'rejected', { draft: member(carol, 'jo\0in') }),
  row('state under the name of somebody else', 'rejected', { sender: alice, draft: { type: 'x', stateKey: bob } }),
  row('power for oneself', 'rejected', {
    draft: { type: 'm.room.power_levels', stateKey: '', content: { users: { [carol]: 100 } } },
  }),
  row('creators in the power levels', until(11, 'accepted', 'rejected'), {
    sender: alice,
    draft: { type: 'm.room.power_levels', stateKey: '', content: { users: { [alice]: 100 } } },
  }),
  row('power levels with a key that has NUL', 'rejected', {
    sender: alice,
    draft: { type: 'm.room.power_levels', stateKey: '', content: { users: { [alice]: 100, '\0': 1 } } },
  }),
  row('power levels as text', until(9, 'accepted', 'rejected'), {
    sender: alice,
    draft: ({ room }) => levels(room, { ban: ' +50 ' }, ' 00100 '),
  }),
  row('power levels cut at the point', until(5, 'accepted', 'dropped'), {
    sender: alice,
    draft: ({ room }) => levels(room, {}),
    change: (pdu) => ({ ...pdu, content: { ...(pdu['content'] as JsonObject), ban: 50.9 } }),
  }),
  row('aliases of who is not in the room', until(5, 'accepted', 'rejected'), {
    sender: erin,
    draft: { type: 'm.room.aliases', stateKey: 'three.example', content: { aliases: [] } },
  }),
  row('the word of a member who did not sign', (version) => (version >= 8 ? 'dropped' : 'accepted'), {
    sender: carol,
    draft: member(carol, 'join', { join_authorised_via_users_server: alice }),
    signedBy: ['two.example'],
  }),
  row('the word of nobody', (version) => (version >= 8 ? 'rejected' : 'accepted'), {
    draft: member(carol, 'join', { join_authorised_via_users_server: 'nobody' }),
  }),
  row('the redaction of the create event', 'accepted', {
    sender: alice,
    draft: ({ room }) => ({ type: 'm.room.redaction', redacts: stateOf(room, 'm.room.create').eventId }),
  }),
  row('the redaction of nothing', 'accepted', {
    sender: alice,
    draft: { type: 'm.room.redaction', content: { redacts: { a: 1 } } },
  }),
  row('the redaction of an id that has NUL', 'accepted', {
    draft: redacting('$a\0:two.example'),
  }),
  row('the redaction of an id of 60,000 bytes', until(2, 'rejected', 'accepted'), {
    draft: redacting(`$${'a'.repeat(60_000)}`),
  }),

  // State that this server keeps apart, with what a column of text has no place for
  ...[
    ['m.room.name', { name: '\0' }],
    ['m.room.topic', { topic: '\0' }],
    ['m.room.avatar', { url: '\0' }],
    ['m.room.canonical_alias', { alias: '#\0:one.example' }],
    ['m.room.join_rules', { join_rule: '\0' }],
    ['m.room.history_visibility', { history_visibility: '\0' }],
    ['m.room.guest_access', { guest_access: '\0' }],
    ['m.room.encryption', { algorithm: '\0' }],
    ['m.room.tombstone', { replacement_room: '\0', body: '\0' }],
    ['m.room.server_acl', { allow: '\0', deny: [1, '\0'] }],
    ['m.room.policy', { via: '\0' }],
  ].map(([type, content]) =>
    row(`${type as string} with NUL`, 'accepted', {
      sender: alice,
      draft: { type: type as string, stateKey: '', content: content as JsonObject },
    }),
  ),
  ...[
    'm.room.name',
    'm.room.topic',
    'm.room.canonical_alias',
    'm.room.join_rules',
    'm.room.history_visibility',
  ].flatMap((type) =>
    [60_000, 0].map((length) =>
      row(`${type} with ${length > 0 ? 'strings of 60,000 bytes' : 'what are no strings'}`, 'accepted', {
        sender: alice,
        draft: { type, stateKey: '', content: everyKey(length > 0 ? 'a'.repeat(length / 10) : { a: [1] }) },
      }),
    ),
  ),
  row('a joined user with a name that has NUL', 'accepted', {
    draft: member(carol, 'join', { displayname: '\0', avatar_url: '\0', reason: '\0' }),
  }),
  row('the invite of an id that has NUL', 'accepted', { sender: alice, draft: member('@\0:two.example', 'invite') }),
  row('the invite of what is no user', 'accepted', { sender: alice, draft: member('nobody', 'invite') }),
  row('the invite of nothing', 'accepted', { sender: alice, draft: member('', 'invite') }),
  row('the ban of a user of nowhere', 'accepted', { sender: alice, draft: member('@nowhere', 'ban') }),
]
