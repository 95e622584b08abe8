import { describe, expect, it } from '@jest/globals'
import { authorize, creatorOf, creatorsOf } from '../../../src/protocol/authorization/index.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import {
  type Expected,
  alice,
  bob,
  carol,
  createEvent,
  expectedIn,
  outcome,
  parse,
  rulesFor,
  versions,
} from './room.js'

const nothing = () => undefined

type Row = [sentence: string, parts: (create: RoomEvent) => Partial<RoomEvent>, expected: Expected]

const content =
  (extra: object) =>
  (create: RoomEvent): Partial<RoomEvent> => ({ content: { ...create.content, ...extra } })

const without =
  (key: string) =>
  (create: RoomEvent): Partial<RoomEvent> => ({
    content: Object.fromEntries(Object.entries(create.content).filter(([name]) => name !== key)),
  })

const unknownVersion = 'create: unknown room_version'
const badAdditional: Expected = (rules) =>
  rules.additionalCreators ? 'create: additional_creators is not a list of user IDs' : 'allowed'

const rows: Row[] = [
  ['the first event of a room is allowed', () => ({}), 'allowed'],
  ['a create event with a prev event is rejected', () => ({ prevEvents: ['$other'] }), 'create: has prev_events'],
  [
    'before v12 the room id must be of the server of the sender',
    () => ({ roomId: '!create:two.example' }),
    (rules) => (rules.roomIdIsCreateHash ? 'allowed' : "create: the room_id is not of the sender's server"),
  ],
  [
    'before v12 the room id must be of some server',
    () => ({ roomId: '!create' }),
    (rules) => (rules.roomIdIsCreateHash ? 'allowed' : "create: the room_id is not of the sender's server"),
  ],
  [
    'the port belongs to the server name',
    () => ({ sender: '@alice:one.example:8448' }),
    (rules) => (rules.roomIdIsCreateHash ? 'allowed' : "create: the room_id is not of the sender's server"),
  ],
  [
    'since v12 a room_id in the event is rejected',
    () => ({ pdu: { room_id: '!create' } }),
    (rules) => (rules.roomIdIsCreateHash ? 'create: has a room_id' : 'allowed'),
  ],
  ['a room version nobody knows is rejected', content({ room_version: 'org.example.unknown' }), unknownVersion],
  ['a room version that is a number is rejected', content({ room_version: 10 }), unknownVersion],
  ['a room version that is null is rejected', content({ room_version: null }), unknownVersion],
  [
    'a room version named like a property of objects is rejected',
    content({ room_version: 'toString' }),
    unknownVersion,
  ],
  ['a create event without room_version is allowed', without('room_version'), 'allowed'],
  [
    'before v11 a creator is required',
    without('creator'),
    (rules) => (rules.creatorInCreateContent ? 'create: no creator' : 'allowed'),
  ],
  [
    'a creator inherited from __proto__ is none',
    () => ({ content: parse('{"__proto__": {"creator": "@alice:one.example"}}') }),
    (rules) => (rules.creatorInCreateContent ? 'create: no creator' : 'allowed'),
  ],
  ['a creator that is no string is a creator all the same', content({ creator: 7 }), 'allowed'],
  ['additional creators that are user ids are allowed', content({ additional_creators: [bob, carol] }), 'allowed'],
  ['an empty list of additional creators is allowed', content({ additional_creators: [] }), 'allowed'],
  [
    'additional creators with historical user ids are allowed',
    content({ additional_creators: ['@ÄB c:x.y'] }),
    'allowed',
  ],
  ['since v12 additional creators must be a list', content({ additional_creators: bob }), badAdditional],
  ['since v12 additional creators may not be null', content({ additional_creators: null }), badAdditional],
  ['since v12 additional creators must be strings', content({ additional_creators: [bob, 7] }), badAdditional],
  ['since v12 additional creators must be user ids', content({ additional_creators: [bob, 'carol'] }), badAdditional],
  ['since v12 additional creators need a server', content({ additional_creators: ['@carol'] }), badAdditional],
]

describe.each(versions)('m.room.create in room version %s', (version) => {
  it.each(rows)('%s', (_sentence, parts, expected) => {
    const create = createEvent(version)
    const verdict = authorize(rulesFor(version), { ...create, ...parts(create) }, nothing)
    expect(outcome(verdict)).toBe(expectedIn(version, expected))
  })
})

it.each(versions)('recognises room version %s in a create event', (version) => {
  const create = createEvent('11', { room_version: version })
  expect(outcome(authorize(rulesFor('11'), create, nothing))).toBe('allowed')
})

describe('the creators of a room', () => {
  it.each(versions)('are named by the version %s', (version) => {
    const create = createEvent(version, { creator: carol, additional_creators: [bob] })
    const byContent = rulesFor(version).creatorInCreateContent
    expect(creatorOf(rulesFor(version), create)).toBe(byContent ? carol : alice)
    expect([...creatorsOf(rulesFor(version), create)]).toEqual(
      rulesFor(version).additionalCreators ? [alice, bob] : [byContent ? carol : alice],
    )
  })

  it('are none when the creator of an old room is no string', () => {
    const create = createEvent('1', { creator: { user: alice } })
    expect(creatorOf(rulesFor('1'), create)).toBeUndefined()
    expect(creatorsOf(rulesFor('1'), create).size).toBe(0)
  })
})
