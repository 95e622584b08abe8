import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { type Expected, alice, bob, carol, dave, event, expectedIn, judge, parse, rulesFor, versions } from './room.js'

/** Bob, of level 50 unless the levels before say otherwise, changes the levels. */
const change = (version: string, before: JsonObject | undefined, after: JsonObject, sender = bob) =>
  judge(
    version,
    { members: { [alice]: 'join', [bob]: 'join' }, levels: before },
    event({ type: 'm.room.power_levels', sender, stateKey: '', content: after }),
  )

const above = (what: string) => `power levels: ${what} is above the sender`
const since =
  (has: (rules: RoomVersionRules) => boolean, expected: string, before = 'allowed'): Expected =>
  (rules) =>
    has(rules) ? expected : before
const since6 = (expected: string) => since((rules) => rules.notificationLevelsChecked, expected)
const integers = (expected: string, before?: string) => since((rules) => rules.integerPowerLevels, expected, before)
const privileged = (expected: string, before?: string) => since((rules) => rules.privilegedCreators, expected, before)

type Shape = [sentence: string, content: JsonObject, expected: Expected]

const below = 'the sender is below the level required for m.room.power_levels'
const notIntegers = 'power levels: users does not hold integers'
const notUsers = 'power levels: a key of users is not a user ID'

const shapes: Shape[] = [
  ['an empty content is allowed', {}, 'allowed'],
  ['integers are allowed', { ban: 5, users: { [bob]: 50 }, events: { x: 1 }, notifications: { room: 1 } }, 'allowed'],
  ['the first levels may be above their sender', { users: { [bob]: 1000 }, ban: 1000 }, 'allowed'],
  ['the first levels may leave everybody without power', { events: { 'm.room.message': 1000 } }, 'allowed'],
  ['unknown properties do not matter', { historical: 'yes', nested: { deep: [] } }, 'allowed'],
  [
    'before v10 a string that holds an integer is allowed in users',
    { users: { [bob]: ' +050 ' } },
    integers(notIntegers),
  ],
  ['a string that holds none is rejected in users', { users: { [bob]: 'fifty' } }, notIntegers],
  [
    'before v6 a float is allowed in users',
    { users: { [bob]: 50.57 } },
    since((rules) => !rules.floatPowerLevels, notIntegers),
  ],
  ['what overflows a double is rejected in users', { users: { [bob]: Infinity } }, notIntegers],
  ['null is rejected in users', { users: { [bob]: null } }, notIntegers],
  ['a boolean is rejected in users', { users: { [bob]: true } }, notIntegers],
  ['an object is rejected in users', { users: { [bob]: {} } }, notIntegers],
  ['users that are null are rejected', { users: null }, notIntegers],
  ['users that are a list are rejected', { users: [] }, notIntegers],
  ['users that are a number are rejected', { users: 7 }, notIntegers],
  ['a user without a sigil is rejected', { users: { 'bob:one.example': 1 } }, notUsers],
  ['a user without a server is rejected', { users: { '@bob': 1 } }, notUsers],
  ['a user without a name is a historical user id', { users: { '@:one.example': 1 } }, 'allowed'],
  ['a user with capitals and spaces is a historical user id', { users: { '@Bob Ross:one.example': 1 } }, 'allowed'],
  ['the user __proto__ is rejected', parse('{"users": {"__proto__": 100}}'), notUsers],
  ['users in __proto__ are none', parse('{"__proto__": {"users": 7}}'), 'allowed'],
  ...['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'].flatMap(
    (name): Shape[] => [
      [`since v10 ${name} may be no string`, { [name]: '50' }, integers(`power levels: ${name} is not an integer`)],
      [`since v10 ${name} may not be null`, { [name]: null }, integers(`power levels: ${name} is not an integer`)],
      [`since v10 ${name} may not be an object`, { [name]: {} }, integers(`power levels: ${name} is not an integer`)],
      [`since v10 ${name} may be no float`, { [name]: 0.5 }, integers(`power levels: ${name} is not an integer`)],
    ],
  ),
  ...['events', 'notifications'].flatMap((name): Shape[] => [
    [
      `since v10 ${name} may not hold strings`,
      { [name]: { x: '50' } },
      integers(`power levels: ${name} does not hold integers`),
    ],
    [
      `since v10 ${name} may not hold null`,
      { [name]: { x: null } },
      integers(`power levels: ${name} does not hold integers`),
    ],
    [`since v10 ${name} may be no list`, { [name]: [] }, integers(`power levels: ${name} does not hold integers`)],
    [`since v10 ${name} may not be null`, { [name]: null }, integers(`power levels: ${name} does not hold integers`)],
  ]),
  [
    'since v12 the creator may not stand in users',
    { users: { [alice]: 100 } },
    privileged('power levels: users holds a creator'),
  ],
]

const users = { [bob]: 50 }
type Row = [sentence: string, before: JsonObject, after: JsonObject, expected: Expected]

const named: Row[] = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'].flatMap(
  (name): Row[] => [
    [`${name} may be raised to the sender's level`, { [name]: 10 }, { [name]: 50 }, 'allowed'],
    [`${name} may not be raised above the sender`, { [name]: 10 }, { [name]: 51 }, above(name)],
    [`${name} may not be lowered from above the sender`, { [name]: 51 }, { [name]: 10 }, above(name)],
    [`${name} may not be removed from above the sender`, { [name]: 51 }, {}, above(name)],
    [`${name} may be removed`, { [name]: 50 }, {}, 'allowed'],
    [`${name} may be added`, {}, { [name]: 50 }, 'allowed'],
    [`${name} may not be added above the sender`, {}, { [name]: 51 }, above(name)],
    [`${name} above the sender may stay`, { [name]: 51 }, { [name]: 51 }, 'allowed'],
  ],
)

const mapped: Row[] = ['events', 'notifications'].flatMap((name): Row[] => {
  const only = (expected: string): Expected => (name === 'events' ? expected : since6(expected))
  const [current, added] = [above(`the current level of x in ${name}`), above(`the new level of x in ${name}`)]
  return [
    [`an entry of ${name} may be changed`, { [name]: { x: 50 } }, { [name]: { x: 0 } }, 'allowed'],
    [`an entry of ${name} may be added`, {}, { [name]: { x: 50 } }, 'allowed'],
    [`an entry of ${name} may be removed`, { [name]: { x: 50 } }, { [name]: {} }, 'allowed'],
    [`all of ${name} may be removed`, { [name]: { x: 50 } }, {}, 'allowed'],
    [`an entry of ${name} above the sender may stay`, { [name]: { x: 51 } }, { [name]: { x: 51 } }, 'allowed'],
    [
      `an entry of ${name} above the sender may not be changed`,
      { [name]: { x: 51 } },
      { [name]: { x: 50 } },
      only(current),
    ],
    [`an entry of ${name} above the sender may not be removed`, { [name]: { x: 51 } }, { [name]: {} }, only(current)],
    [`${name} with an entry above the sender may not be removed`, { [name]: { x: 51 } }, {}, only(current)],
    [
      `an entry of ${name} may not be raised above the sender`,
      { [name]: { x: 50 } },
      { [name]: { x: 51 } },
      only(added),
    ],
    [`an entry of ${name} may not be added above the sender`, {}, { [name]: { x: 51 } }, only(added)],
    [
      `an entry of ${name} named __proto__ is one like any other`,
      {},
      parse(`{"${name}": {"__proto__": 51}}`),
      only(above(`the new level of __proto__ in ${name}`)),
    ],
  ]
})

const notBelow = (user: string) => `power levels: ${user} is not below the sender`
const people: Row[] = [
  ['a user may be added at the level of the sender', { users }, { users: { ...users, [carol]: 50 } }, 'allowed'],
  [
    'a user may not be added above the sender',
    { users },
    { users: { ...users, [carol]: 51 } },
    above(`the new level of ${carol}`),
  ],
  [
    'a user below the sender may be raised',
    { users: { ...users, [carol]: 49 } },
    { users: { ...users, [carol]: 50 } },
    'allowed',
  ],
  [
    'a user below the sender may not be raised above the sender',
    { users: { ...users, [carol]: 49 } },
    { users: { ...users, [carol]: 51 } },
    above(`the new level of ${carol}`),
  ],
  [
    'a user below the sender may be lowered',
    { users: { ...users, [carol]: 49 } },
    { users: { ...users, [carol]: -1 } },
    'allowed',
  ],
  ['a user below the sender may be removed', { users: { ...users, [carol]: 49 } }, { users }, 'allowed'],
  ['an equal may stay', { users: { ...users, [carol]: 50 } }, { users: { ...users, [carol]: 50 } }, 'allowed'],
  [
    'an equal may not be lowered',
    { users: { ...users, [carol]: 50 } },
    { users: { ...users, [carol]: 49 } },
    notBelow(carol),
  ],
  ['an equal may not be removed', { users: { ...users, [carol]: 50 } }, { users }, notBelow(carol)],
  [
    'who is above the sender may not be lowered',
    { users: { ...users, [carol]: 51 } },
    { users: { ...users, [carol]: 0 } },
    notBelow(carol),
  ],
  [
    'who is above the sender may not be raised',
    { users: { ...users, [carol]: 51 } },
    { users: { ...users, [carol]: 52 } },
    notBelow(carol),
  ],
  ['the sender may lower themselves', { users }, { users: { [bob]: 0 } }, 'allowed'],
  ['the sender may remove themselves', { users }, { users: {} }, 'allowed'],
  ['the sender may remove all of users when alone in it', { users }, {}, 'allowed'],
  ['the sender may not raise themselves', { users }, { users: { [bob]: 51 } }, above(`the new level of ${bob}`)],
  ['users may not be removed with an equal in it', { users: { ...users, [carol]: 50 } }, {}, notBelow(carol)],
]

describe.each(versions)('m.room.power_levels in room version %s', (version) => {
  describe('the first in the room', () => {
    it.each(shapes)('%s', (_sentence, content, expected) => {
      expect(change(version, undefined, content, alice)).toBe(expectedIn(version, expected))
    })

    it('since v12 additional creators may not stand in users either', () => {
      const sent = event({
        type: 'm.room.power_levels',
        sender: alice,
        stateKey: '',
        content: { users: { [dave]: 1 } },
      })
      const room = { create: { additional_creators: [dave] } }
      expect(judge(version, room, sent)).toBe(expectedIn(version, privileged('power levels: users holds a creator')))
    })
  })

  it.each(named)('%s', (_sentence, before, after, expected) => {
    const open = { users, events: { 'm.room.power_levels': 0 } }
    expect(change(version, { ...open, ...before }, { ...open, ...after })).toBe(expectedIn(version, expected))
  })

  it.each(mapped)('%s', (_sentence, before, after, expected) => {
    const open = { users, state_default: 0 }
    expect(change(version, { ...open, ...before }, { ...open, ...after })).toBe(expectedIn(version, expected))
  })

  it.each(people)('%s', (_sentence, before, after, expected) => {
    const open = { state_default: 0 }
    expect(change(version, { ...open, ...before }, { ...open, ...after })).toBe(expectedIn(version, expected))
  })

  it('who is below the level required for power levels may not change them at all', () => {
    const levels = { users, events: { 'm.room.power_levels': 51 } }
    expect(change(version, levels, levels)).toBe(below)
  })

  it('since v12 a creator may change whatever is there', () => {
    const before = { users: { [bob]: 1000 }, ban: 2000, events: { x: 3000 }, state_default: 4000 }
    expect(change(version, before, { users: { [bob]: 5000 } }, alice)).toBe(
      expectedIn(version, privileged('allowed', below)),
    )
  })

  it('never changes an entry of users at or above the level of who changes it', () => {
    const level = fc.integer({ min: -1, max: 4 })
    const ids = [carol, dave, '@erin:three.example'] as const
    const entries = fc.dictionary(fc.constantFrom(...ids), level)
    fc.assert(
      fc.property(entries, entries, level, level, (before, after, own, next) => {
        const content = (of: Record<string, number>, mine: number) => ({
          state_default: -1,
          users: { ...of, [bob]: mine },
        })
        const isAllowed = change(version, content(before, own), content(after, next)) === 'allowed'
        const mayChange = ids.every((id) => {
          const [was, is] = [before[id], after[id]]
          return was === is || ((was === undefined || was < own) && (is === undefined || is <= own))
        })
        expect(isAllowed).toBe(mayChange && next <= own)
      }),
      { seed: 7, numRuns: 300 },
    )
  })
})

describe.each(versions.filter((version) => !rulesFor(version).integerPowerLevels))(
  'the loose levels of room version %s',
  (version) => {
    const open = { state_default: 0, users }

    it.each<[string, JsonObject, JsonObject, string]>([
      ['a string and the number it holds are one level', { ban: 60 }, { ban: ' 060 ' }, 'allowed'],
      ['strings are compared as numbers', { ban: '9' }, { ban: '10' }, 'allowed'],
      ['a string may not raise a level above the sender', { ban: '9' }, { ban: '51' }, above('ban')],
      ['a string may not lower a level from above the sender', { ban: '51' }, { ban: '9' }, above('ban')],
      ['a level that cannot be read may not be set', { ban: 9 }, { ban: 'high' }, above('ban')],
      ['null may not be set', {}, { ban: null }, above('ban')],
      ['a level that cannot be read may not be changed', { ban: 'high' }, { ban: 50 }, above('ban')],
      ['a level that cannot be read blocks all other changes', { ban: 'high' }, { ban: 'high' }, above('ban')],
      ['events must be an object', {}, { events: 7 }, 'power levels: events is not an object'],
      ['events that are no object block all changes', { events: 7 }, {}, below],
    ])('%s', (_sentence, before, after, expected) => {
      expect(change(version, { ...open, ...before }, { ...open, ...after })).toBe(expected)
    })

    it('since v6 notifications must be an object', () => {
      const expected = since6('power levels: notifications is not an object')
      expect(change(version, open, { ...open, notifications: 7 })).toBe(expectedIn(version, expected))
      expect(change(version, { ...open, notifications: 7 }, open)).toBe(expectedIn(version, expected))
    })
  },
)
