import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { authorize, checkAuthEvents } from '../../../src/protocol/authorization/index.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import {
  type Expected,
  type Room,
  alice,
  bob,
  carol,
  createEvent,
  event,
  expectedIn,
  inRoom,
  judge,
  member,
  outcome,
  rulesFor,
  versions,
} from './room.js'

const message = (sender: string) => event({ type: 'm.room.message', sender })
const state = (sender: string, type: string, stateKey = '') => event({ type, sender, stateKey })

type Row = [sentence: string, room: Room, sent: RoomEvent, expected: Expected]

const joined = { [alice]: 'join', [bob]: 'join', [carol]: 'join' }
const noFederation = 'the room does not federate, and the sender is of another server than its creator'
const below = (type: string) => `the sender is below the level required for ${type}`
const thirdParty = 'third-party invite: the sender is below the invite level'
const otherKey = 'the state_key is the user ID of somebody else than the sender'

const rows: Row[] = [
  // m.federate
  [
    'a room that does not federate takes users of its own server',
    { members: joined, create: { 'm.federate': false } },
    message(bob),
    'allowed',
  ],
  [
    'a room that does not federate takes no users of others',
    { members: joined, create: { 'm.federate': false } },
    message(carol),
    noFederation,
  ],
  [
    'a room that does not federate takes no joins of others',
    { joinRules: { join_rule: 'public' }, create: { 'm.federate': false } },
    member(carol, 'join'),
    noFederation,
  ],
  [
    'a room that does not federate may invite users of others',
    { create: { 'm.federate': false } },
    member(carol, 'invite', { sender: alice }),
    'allowed',
  ],
  ['m.federate true lets everybody in', { members: joined, create: { 'm.federate': true } }, message(carol), 'allowed'],
  [
    'only the value false ends federation',
    { members: joined, create: { 'm.federate': 'false' } },
    message(carol),
    'allowed',
  ],
  [
    'another port is another server',
    { members: { '@bob:one.example:1': 'join' }, create: { 'm.federate': false } },
    message('@bob:one.example:1'),
    noFederation,
  ],

  // Membership
  ['a member may send a message', { members: joined }, message(bob), 'allowed'],
  ['who is invited may not send', { members: { [bob]: 'invite' } }, message(bob), 'the sender is not joined'],
  ['who knocks may not send', { members: { [bob]: 'knock' } }, message(bob), 'the sender is not joined'],
  ['who left may not send', { members: { [bob]: 'leave' } }, message(bob), 'the sender is not joined'],
  ['who is banned may not send', { members: { [bob]: 'ban' } }, message(bob), 'the sender is not joined'],
  ['a stranger may not send', {}, message(bob), 'the sender is not joined'],
  ['a creator who left may not send', { members: { [alice]: 'leave' } }, message(alice), 'the sender is not joined'],
  [
    'a membership that is no string is none',
    { members: { [bob]: ['join'] } },
    message(bob),
    'the sender is not joined',
  ],

  // m.room.third_party_invite
  [
    'a member may make a third-party invite by default',
    { members: joined, levels: {} },
    state(bob, 'm.room.third_party_invite', 't'),
    'allowed',
  ],
  [
    'the invite level is enough, whatever state needs',
    { members: joined, levels: { invite: 5, state_default: 100, users: { [bob]: 5 } } },
    state(bob, 'm.room.third_party_invite', 't'),
    'allowed',
  ],
  [
    'below the invite level there is no third-party invite',
    { members: joined, levels: { invite: 5, users: { [bob]: 4 } } },
    state(bob, 'm.room.third_party_invite', 't'),
    thirdParty,
  ],
  [
    'who is not joined makes no third-party invite',
    { members: {} },
    state(alice, 'm.room.third_party_invite', 't'),
    'the sender is not joined',
  ],
  [
    'a third-party invite may have the user id of somebody else as its token',
    { members: joined },
    state(bob, 'm.room.third_party_invite', alice),
    'allowed',
  ],

  // Required levels
  [
    'events_default is required for messages',
    { members: joined, levels: { events_default: 1 } },
    message(bob),
    below('m.room.message'),
  ],
  [
    'events_default is enough',
    { members: joined, levels: { events_default: 1, users_default: 1 } },
    message(bob),
    'allowed',
  ],
  [
    'users with a negative level are muted',
    { members: joined, levels: { users: { [bob]: -1 } } },
    message(bob),
    below('m.room.message'),
  ],
  [
    'state_default is required for state',
    { members: joined, levels: { users: { [bob]: 49 } } },
    state(bob, 'm.room.name'),
    below('m.room.name'),
  ],
  [
    'state_default is enough',
    { members: joined, levels: { users: { [bob]: 50 } } },
    state(bob, 'm.room.name'),
    'allowed',
  ],
  ['without power levels state needs 50', { members: joined }, state(bob, 'm.room.name'), below('m.room.name')],
  ['without power levels the creator may send state', { members: joined }, state(alice, 'm.room.name'), 'allowed'],
  [
    'a level in events goes before the defaults',
    { members: joined, levels: { events: { 'm.room.name': 0 } } },
    state(bob, 'm.room.name'),
    'allowed',
  ],
  [
    'a level in events may be above the defaults',
    { members: joined, levels: { events: { 'm.room.message': 1 } } },
    message(bob),
    below('m.room.message'),
  ],
  [
    'a type that is a property of objects has the default level',
    { members: joined, levels: { events: {} } },
    event({ type: 'constructor', sender: bob }),
    'allowed',
  ],
  [
    'a level that cannot be read is above everybody',
    { members: joined, levels: { events_default: 'high', users_default: 9 } },
    message(bob),
    below('m.room.message'),
  ],
  [
    'since v12 a creator is above every level',
    { members: joined, levels: { events: { 'm.room.tombstone': 9007199254740991 } } },
    state(alice, 'm.room.tombstone'),
    (rules) => (rules.privilegedCreators ? 'allowed' : below('m.room.tombstone')),
  ],
  [
    'since v12 an additional creator is too',
    { members: joined, create: { additional_creators: [carol] }, levels: { state_default: 1000 } },
    state(carol, 'm.room.name'),
    (rules) => (rules.privilegedCreators ? 'allowed' : below('m.room.name')),
  ],

  // State keys
  [
    'a user may set state under their own user id',
    { members: joined, levels: { state_default: 0 } },
    state(bob, 'org.example.location', bob),
    'allowed',
  ],
  [
    'nobody may set state under the user id of somebody else',
    { members: joined, levels: { state_default: 0 } },
    state(bob, 'org.example.location', alice),
    otherKey,
  ],
  ['not even the creator may', { members: joined }, state(alice, 'org.example.location', bob), otherKey],
  [
    'any state key that begins with @ counts as a user id',
    { members: joined },
    state(alice, 'org.example.location', '@'),
    otherKey,
  ],
  [
    'a user id in the middle of a state key is free',
    { members: joined },
    state(alice, 'org.example.location', `_${bob}`),
    'allowed',
  ],
  [
    'no user may set an unknown type without its level',
    { members: joined, levels: {} },
    state(bob, 'org.example.x', bob),
    below('org.example.x'),
  ],
]

describe.each(versions)('authorisation in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, room, sent, expected) => {
    expect(judge(version, room, sent)).toBe(expectedIn(version, expected))
  })

  it('nothing but the create event is allowed in a room without one', () => {
    const nothing = () => undefined
    for (const sent of [
      message(alice),
      member(alice, 'join', { prevEvents: ['$create'] }),
      state(alice, 'm.room.aliases'),
    ]) {
      expect(outcome(authorize(rulesFor(version), sent, nothing))).toBe('there is no m.room.create event')
    }
  })

  it('the create event may be given beside the state', () => {
    const create = createEvent(version)
    const only = (type: string) => (type === 'm.room.member' ? member(alice, 'join') : undefined)
    expect(outcome(authorize(rulesFor(version), inRoom(version, message(alice)), only, create))).toBe('allowed')
  })
})

describe('the room of an event in room version 12', () => {
  const rules = rulesFor('12')
  const judged = (roomId: string, create = createEvent('12')) =>
    outcome(authorize(rules, { ...message(alice), roomId }, () => member(alice, 'join'), create))
  const wrong = 'room_id is not that of the m.room.create event'

  it('is the id of the create event with another sigil', () => expect(judged('!create')).toBe('allowed'))
  it('is not that of another create event', () => expect(judged('!other')).toBe(wrong))
  it('has the sigil of a room', () => expect(judged('$create')).toBe(wrong))
  it('has no server', () => expect(judged('!create:one.example')).toBe(wrong))
  it('is not made by an event of another type', () =>
    expect(judged('!create', { ...createEvent('12'), type: 'm.room.message' })).toBe(wrong))
  it('is judged by the id of the create event, not by the room it claims', () =>
    expect(judged('!other', { ...createEvent('12'), roomId: '!other' })).toBe(wrong))
})

describe('any shape of JSON', () => {
  const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  const keys = fc.constantFrom(
    ...[
      'membership',
      'join_rule',
      'users',
      'events',
      'ban',
      'creator',
      'additional_creators',
      'm.federate',
      '__proto__',
    ],
    ...[
      'third_party_invite',
      'join_authorised_via_users_server',
      'public_key',
      'public_keys',
      'notifications',
      'invite',
    ],
  )
  const content = fc
    .array(fc.tuple(keys, fc.oneof(json, fc.constantFrom('join', 'invite', 'leave', 'public', 'restricted', alice))))
    .map((entries) => Object.fromEntries(entries) as JsonObject)
  const types = fc.constantFrom(
    ...['m.room.create', 'm.room.member', 'm.room.power_levels', 'm.room.third_party_invite', 'm.room.join_rules'],
    ...['m.room.aliases', 'm.room.redaction', 'm.room.message'],
  )
  const hostile = fc.record({ type: types, content, stateKey: fc.constantFrom(undefined, '', alice, bob, '@') })

  it.each(versions)('gets a verdict in room version %s', (version) => {
    fc.assert(
      fc.property(hostile, content, content, content, (sent, create, levels, joinRules) => {
        const judged = event({ sender: alice, ...sent })
        const room: Room = { members: { [alice]: 'join' }, create, levels, joinRules }
        expect(typeof judge(version, room, judged)).toBe('string')
        expect(checkAuthEvents(rulesFor(version), judged, [createEvent(version)])).toHaveProperty('allowed')
      }),
      { seed: 11, numRuns: 300 },
    )
  })
})

describe.each(versions)('keys of an event of ours that are undefined, in room version %s', (version) => {
  it('are not there', () => {
    const undefinedKeys = { third_party_invite: undefined, join_authorised_via_users_server: undefined }
    const invite = member(bob, 'invite', { sender: alice, content: { membership: 'invite', ...undefinedKeys } })
    expect(judge(version, {}, invite)).toBe('allowed')
    expect(judge(version, { joinRules: { join_rule: undefined } }, member(bob, 'join'))).toBe(
      'join: the sender is not invited',
    )

    const content = {
      ban: undefined,
      events: { x: undefined },
      notifications: undefined,
      users: { [alice]: undefined },
    }
    const levels = event({ type: 'm.room.power_levels', sender: alice, stateKey: '', content })
    expect(judge(version, {}, levels)).toBe('allowed')
    expect(judge(version, { levels: { state_default: 0, ...content } }, levels)).toBe('allowed')
  })
})
