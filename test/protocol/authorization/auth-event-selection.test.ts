import { describe, expect, it } from '@jest/globals'
import { authEventKeys, checkAuthEvents } from '../../../src/protocol/authorization/index.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import {
  type Expected,
  alice,
  bob,
  carol,
  createEvent,
  event,
  expectedIn,
  inRoom,
  member,
  outcome,
  parse,
  rulesFor,
  versions,
} from './room.js'

const levels = 'm.room.power_levels'
const user = (userId: string) => `m.room.member ${userId}`
const rule = 'm.room.join_rules'
const third = (token: string) => `m.room.third_party_invite ${token}`

const invited = (thirdPartyInvite: unknown) =>
  member(bob, 'invite', {
    sender: alice,
    content: { membership: 'invite', third_party_invite: thirdPartyInvite as null },
  })
const authorised = (membership: string, authoriser: unknown) =>
  member(bob, membership, { content: { membership, join_authorised_via_users_server: authoriser as null } })

/** Beside the create event. */
type Row = [sentence: string, of: RoomEvent, selected: string[], before8?: string[]]

const rows: Row[] = [
  [
    'a message names the power levels and its sender',
    event({ type: 'm.room.message', sender: bob }),
    [levels, user(bob)],
  ],
  ['a state event names no more', event({ type: 'm.room.name', sender: bob, stateKey: '' }), [levels, user(bob)]],
  ['power levels name those before them', event({ type: levels, sender: bob, stateKey: '' }), [levels, user(bob)]],
  ['a leave names its sender once', member(bob, 'leave'), [levels, user(bob)]],
  ['a kick names the target too', member(bob, 'leave', { sender: alice }), [levels, user(alice), user(bob)]],
  ['a ban names no join rules', member(bob, 'ban', { sender: alice }), [levels, user(alice), user(bob)]],
  ['a join names the join rules', member(bob, 'join'), [levels, user(bob), rule]],
  ['a knock names the join rules', member(bob, 'knock'), [levels, user(bob), rule]],
  ['an invite names the join rules', member(bob, 'invite', { sender: alice }), [levels, user(alice), user(bob), rule]],
  [
    'an invite by third-party invite names the one with its token',
    invited({ signed: { token: 'secret', mxid: bob } }),
    [levels, user(alice), user(bob), rule, third('secret')],
  ],
  [
    'an empty token is a token',
    invited({ signed: { token: '' } }),
    [levels, user(alice), user(bob), rule, third('').trim()],
  ],
  [
    'a token that is no string names nothing',
    invited({ signed: { token: 7 } }),
    [levels, user(alice), user(bob), rule],
  ],
  ['a signed that is no object names nothing', invited({ signed: 'x' }), [levels, user(alice), user(bob), rule]],
  ['a third-party invite that is null names nothing', invited(null), [levels, user(alice), user(bob), rule]],
  [
    'a token in __proto__ names nothing',
    invited(parse('{"signed": {"__proto__": {"token": "secret"}}}')),
    [levels, user(alice), user(bob), rule],
  ],
  [
    'a join with third_party_invite names no third-party invite',
    member(bob, 'join', { content: { membership: 'join', third_party_invite: { signed: { token: 'secret' } } } }),
    [levels, user(bob), rule],
  ],
  [
    'since v8 a join names who authorised it',
    authorised('join', carol),
    [levels, user(bob), rule, user(carol)],
    [levels, user(bob), rule],
  ],
  ['who authorises themselves is named once', authorised('join', bob), [levels, user(bob), rule]],
  ['an authoriser that is no string is not named', authorised('join', [carol]), [levels, user(bob), rule]],
  ['a leave names no authoriser', authorised('leave', carol), [levels, user(bob)]],
  [
    'an unknown membership names sender and target',
    member(bob, 'lurk', { sender: alice }),
    [levels, user(alice), user(bob)],
  ],
  [
    'a member event that is no state event names its sender',
    event({ type: 'm.room.member', sender: bob }),
    [levels, user(bob)],
  ],
]

describe.each(versions)('the selection of auth events in room version %s', (version) => {
  const rules = rulesFor(version)
  const namesOf = (of: RoomEvent) => authEventKeys(rules, of).map(([type, stateKey]) => `${type} ${stateKey}`.trim())

  it.each(rows)('%s', (_sentence, of, selected, before8 = selected) => {
    const expected = rules.restrictedJoins ? selected : before8
    expect(namesOf(of)).toEqual(rules.createInAuthEvents ? ['m.room.create', ...expected] : expected)
  })

  it('the create event names nothing', () => {
    expect(namesOf(createEvent(version))).toEqual([])
  })
})

describe.each(versions)('the list of auth events in room version %s', (version) => {
  const rules = rulesFor(version)
  const create = createEvent(version)
  const creates = rules.createInAuthEvents ? [create] : []
  const power = event({ type: levels, sender: alice, stateKey: '' })
  const stray = (type: string) => `auth events: a ${type} event has no place there`

  const list: [sentence: string, authEvents: RoomEvent[], expected: Expected][] = [
    ['those of the selection are allowed', [...creates, power, member(bob, 'join')], 'allowed'],
    ['some of the selection may be missing', [...creates], 'allowed'],
    ['their order does not matter', [member(bob, 'join'), power, ...creates], 'allowed'],
    [
      'two of one type and state key are rejected',
      [...creates, member(bob, 'join'), member(bob, 'leave', { eventId: '$other' })],
      'auth events: two of one type and state_key',
    ],
    ['one event twice is rejected', [...creates, power, power], 'auth events: two of one type and state_key'],
    ['the membership of somebody else is rejected', [...creates, member(carol, 'join')], stray('m.room.member')],
    [
      'join rules are rejected for a message',
      [...creates, event({ type: rule, sender: alice, stateKey: '' })],
      stray(rule),
    ],
    [
      'power levels under another state key are rejected',
      [...creates, event({ type: levels, sender: alice, stateKey: 'x' })],
      stray(levels),
    ],
    [
      'an event that is no state event is rejected, whatever its type',
      [...creates, event({ type: levels, sender: alice })],
      stray(levels),
    ],
    [
      'before v12 the create event is required',
      [power],
      (its) => (its.createInAuthEvents ? 'auth events: no m.room.create event' : 'allowed'),
    ],
    [
      'since v12 the create event is rejected',
      [create],
      (its) => (its.createInAuthEvents ? 'allowed' : stray('m.room.create')),
    ],
  ]

  it.each(list)('%s', (_sentence, authEvents, expected) => {
    const message = inRoom(version, event({ type: 'm.room.message', sender: bob }))
    const ours = authEvents.map((of) => inRoom(version, of))
    expect(outcome(checkAuthEvents(rules, message, ours))).toBe(expectedIn(version, expected))
  })

  it('an event of another room is rejected', () => {
    const message = inRoom(version, event({ type: 'm.room.message', sender: bob }))
    const foreign = { ...power, roomId: '!other:one.example' }
    expect(outcome(checkAuthEvents(rules, message, [...creates, foreign]))).toBe('auth events: one is of another room')
  })

  it('an event that was rejected is rejected', () => {
    const message = inRoom(version, event({ type: 'm.room.message', sender: bob }))
    const authEvents = [...creates, inRoom(version, power)]
    const verdict = checkAuthEvents(rules, message, authEvents, (of) => of.type === levels)
    expect(outcome(verdict)).toBe('auth events: one is rejected')
  })

  it('is not judged for the create event', () => {
    expect(outcome(checkAuthEvents(rules, create, [power, power]))).toBe('allowed')
  })
})
