import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import {
  type Expected,
  type Room,
  alice,
  bob,
  carol,
  dave,
  expectedIn,
  judge,
  member,
  parse,
  versions,
} from './room.js'

type Row = [sentence: string, room: Room, join: RoomEvent, expected: Expected]

const joinOf = (userId: string, parts: Partial<RoomEvent> = {}) => member(userId, 'join', parts)
const authorisedBy = (authoriser: Json): Partial<RoomEvent> => ({
  content: { membership: 'join', join_authorised_via_users_server: authoriser },
})
const first: Partial<RoomEvent> = { prevEvents: ['$create'] }

const room = (joinRule: Json | undefined, members: Room['members'] = {}, levels?: JsonObject): Room => ({
  joinRules: joinRule === undefined ? undefined : { join_rule: joinRule },
  members: { [alice]: 'join', ...members },
  levels,
})

const noWay = 'join: the join rule does not let the sender in'
const notInvited = 'join: the sender is not invited'
const unauthorised = 'join: neither invited nor authorised by a member'
const notAnId = 'member: join_authorised_via_users_server is not a user ID'

/** What a rule since some version says; before it, the join rule is unknown. */
const known =
  (has: (rules: RoomVersionRules) => boolean, expected: string): Expected =>
  (rules) =>
    has(rules) ? expected : noWay
const knock = (expected: string) => known((rules) => rules.knocking, expected)
const restricted = (expected: string) => known((rules) => rules.restrictedJoins, expected)
const knockRestricted = (expected: string) => known((rules) => rules.knockRestrictedJoins, expected)

const rows: Row[] = [
  // The first join
  ['the creator may join right after the create event', { members: {} }, joinOf(alice, first), 'allowed'],
  ['nobody else may join right after the create event', { members: {} }, joinOf(bob, first), notInvited],
  [
    'the creator may not join a fresh room with two previous events',
    { members: {} },
    joinOf(alice, { prevEvents: ['$create', '$other'] }),
    notInvited,
  ],
  ['the creator may not come back uninvited later', { members: { [alice]: 'leave' } }, joinOf(alice), notInvited],
  [
    'before v11 the creator is who content names',
    { members: {}, create: { creator: bob } },
    joinOf(bob, first),
    (rules) => (rules.creatorInCreateContent ? 'allowed' : notInvited),
  ],
  [
    'since v11 the creator is who sent the create event',
    { members: {}, create: { creator: bob } },
    joinOf(alice, first),
    (rules) => (rules.creatorInCreateContent ? notInvited : 'allowed'),
  ],
  [
    'an additional creator may not join right after the create event',
    { members: {}, create: { additional_creators: [bob] } },
    joinOf(bob, first),
    notInvited,
  ],
  [
    'a creator that is no string may not join',
    { members: {}, create: { creator: [alice] } },
    joinOf(alice, first),
    (rules) => (rules.creatorInCreateContent ? notInvited : 'allowed'),
  ],

  // Any join
  [
    'nobody may make somebody else join',
    room('public'),
    joinOf(bob, { sender: alice }),
    'join: of somebody else than the sender',
  ],
  [
    'a banned user may not join a public room',
    room('public', { [bob]: 'ban' }),
    joinOf(bob),
    'join: the sender is banned',
  ],
  [
    'a banned user may not join an invite-only room',
    room('invite', { [bob]: 'ban' }),
    joinOf(bob),
    'join: the sender is banned',
  ],

  // Public
  ['anybody may join a public room', room('public'), joinOf(bob), 'allowed'],
  ['who left may rejoin a public room', room('public', { [bob]: 'leave' }), joinOf(bob), 'allowed'],
  ['who knocked may join a public room', room('public', { [bob]: 'knock' }), joinOf(bob), 'allowed'],

  // Invite
  ['an invited user may join', room('invite', { [bob]: 'invite' }), joinOf(bob), 'allowed'],
  ['a joined user may change their profile', room('invite', { [bob]: 'join' }), joinOf(bob), 'allowed'],
  ['a stranger may not join an invite-only room', room('invite'), joinOf(bob), notInvited],
  ['who left may not rejoin an invite-only room', room('invite', { [bob]: 'leave' }), joinOf(bob), notInvited],
  ['a room without join rules is invite-only for strangers', room(undefined), joinOf(bob), notInvited],
  ['a room without join rules lets invited users in', room(undefined, { [bob]: 'invite' }), joinOf(bob), 'allowed'],
  [
    'join rules that name none are those of an invite-only room',
    { joinRules: {}, members: {} },
    joinOf(bob),
    notInvited,
  ],
  [
    'a join rule inherited from __proto__ is none',
    { joinRules: parse('{"__proto__": {"join_rule": "public"}}'), members: {} },
    joinOf(bob),
    notInvited,
  ],

  // Knock
  ['since v7 a knock room lets invited users in', room('knock', { [bob]: 'invite' }), joinOf(bob), knock('allowed')],
  ['since v7 a knock room lets joined users stay', room('knock', { [bob]: 'join' }), joinOf(bob), knock('allowed')],
  ['since v7 a knock is not enough to join', room('knock', { [bob]: 'knock' }), joinOf(bob), knock(notInvited)],
  ['a stranger may not join a knock room', room('knock'), joinOf(bob), knock(notInvited)],

  // Restricted
  [
    'since v8 a restricted room lets invited users in',
    room('restricted', { [bob]: 'invite' }),
    joinOf(bob),
    restricted('allowed'),
  ],
  [
    'since v8 a restricted room lets joined users stay',
    room('restricted', { [bob]: 'join' }),
    joinOf(bob),
    restricted('allowed'),
  ],
  [
    'a stranger may not join a restricted room on their own word',
    room('restricted'),
    joinOf(bob),
    restricted(unauthorised),
  ],
  [
    'since v8 a member who may invite can authorise a join to a restricted room',
    room('restricted', { [carol]: 'join' }, { invite: 50, users: { [carol]: 50 } }),
    joinOf(bob, authorisedBy(carol)),
    restricted('allowed'),
  ],
  [
    'since v8 a creator can authorise a join without being in users',
    room('restricted', {}, { invite: 0 }),
    joinOf(bob, authorisedBy(alice)),
    restricted('allowed'),
  ],
  [
    'a member below the invite level cannot authorise a join',
    room('restricted', { [carol]: 'join' }, { invite: 50, users: { [carol]: 49 } }),
    joinOf(bob, authorisedBy(carol)),
    restricted('join: who authorised it is below the invite level'),
  ],
  [
    'who is not joined cannot authorise a join',
    room('restricted', { [carol]: 'leave' }, { users: { [carol]: 100 } }),
    joinOf(bob, authorisedBy(carol)),
    restricted('join: who authorised it is not joined'),
  ],
  [
    'nobody authorises their own join',
    room('restricted', { [bob]: 'leave' }, { users: { [bob]: 100 } }),
    joinOf(bob, authorisedBy(bob)),
    restricted('join: who authorised it is not joined'),
  ],
  [
    'who authorises a join must be a user id',
    room('restricted'),
    joinOf(bob, authorisedBy('alice')),
    restricted(notAnId),
  ],
  [
    'who authorises a join must be a string',
    room('restricted'),
    joinOf(bob, authorisedBy([alice])),
    restricted(notAnId),
  ],
  [
    'since v8 a broken authorisation breaks the join to a public room too',
    room('public'),
    joinOf(bob, authorisedBy(null)),
    (rules) => (rules.restrictedJoins ? notAnId : 'allowed'),
  ],
  [
    'a banned user may not join with an authorisation',
    room('restricted', { [bob]: 'ban' }),
    joinOf(bob, authorisedBy(alice)),
    'join: the sender is banned',
  ],

  // Knock restricted
  [
    'since v10 a knock_restricted room lets invited users in',
    room('knock_restricted', { [bob]: 'invite' }),
    joinOf(bob),
    knockRestricted('allowed'),
  ],
  [
    'since v10 a member can authorise a join to a knock_restricted room',
    room('knock_restricted'),
    joinOf(dave, authorisedBy(alice)),
    knockRestricted('allowed'),
  ],
  [
    'a knock is not enough to join a knock_restricted room',
    room('knock_restricted', { [bob]: 'knock' }),
    joinOf(bob),
    knockRestricted(unauthorised),
  ],

  // No rule
  ['a private room lets nobody in, invited or not', room('private', { [bob]: 'invite' }), joinOf(bob), noWay],
  ['an unknown join rule lets nobody in', room('org.example.paid', { [bob]: 'invite' }), joinOf(bob), noWay],
  ['a join rule that is no string lets nobody in', room(['public'], { [bob]: 'invite' }), joinOf(bob), noWay],
  ['a join rule that is null lets nobody in', room(null, { [bob]: 'invite' }), joinOf(bob), noWay],
]

describe.each(versions)('m.room.member join in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, inside, join, expected) => {
    expect(judge(version, inside, join)).toBe(expectedIn(version, expected))
  })
})
