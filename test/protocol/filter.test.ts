import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  eventMatches,
  FilterError,
  matchesNothing,
  MAX_LIMIT,
  noFilter,
  parseFilter,
  parseRoomEventFilter,
  roomMatches,
  selectFields,
  TypePatterns,
  type FilteredEvent,
} from '../../src/protocol/filter.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'

const alice = '@alice:example.org'
const bob = '@bob:example.org'
const room = '!room:example.org'

const event = (changes: Partial<FilteredEvent> = {}): FilteredEvent => ({
  type: 'm.room.message',
  sender: alice,
  roomId: room,
  content: { body: 'hello' },
  ...changes,
})

const passes = (filter: JsonObject, changes: Partial<FilteredEvent> = {}): boolean =>
  eventMatches(parseRoomEventFilter(filter), event(changes))

describe('a filter', () => {
  it('without fields restricts nothing and has the defaults of the specification', () => {
    expect(noFilter.eventFormat).toBe('client')
    expect(noFilter.eventFields).toBeUndefined()
    expect(noFilter.room.includeLeave).toBe(false)
    for (const part of [noFilter.room.timeline, noFilter.room.state, noFilter.room.ephemeral]) {
      expect([part.lazyLoadMembers, part.includeRedundantMembers, part.unreadThreadNotifications]).toEqual([
        false,
        false,
        false,
      ])
      expect(part.limit).toBeUndefined()
      expect(eventMatches(part, event())).toBe(true)
    }
    expect(roomMatches(noFilter.room, room)).toBe(true)
  })

  it('is read in all its parts', () => {
    const filter = parseFilter({
      event_fields: ['content.body'],
      event_format: 'federation',
      presence: { types: [] },
      account_data: { not_types: ['m.push_rules'] },
      room: {
        rooms: [room],
        not_rooms: ['!other:example.org'],
        include_leave: true,
        state: { lazy_load_members: true, include_redundant_members: true },
        timeline: { limit: 20, unread_thread_notifications: true, types: ['m.room.*'] },
        ephemeral: { not_types: ['*'] },
        account_data: { senders: [alice] },
      },
    })
    expect(filter.eventFormat).toBe('federation')
    expect(matchesNothing(filter.presence)).toBe(true)
    expect(eventMatches(filter.accountData, { type: 'm.push_rules', content: {} })).toBe(false)
    expect(filter.room.includeLeave).toBe(true)
    expect(filter.room.state.lazyLoadMembers && filter.room.state.includeRedundantMembers).toBe(true)
    expect(filter.room.timeline.limit).toBe(20)
    expect(filter.room.timeline.unreadThreadNotifications).toBe(true)
    expect(matchesNothing(filter.room.ephemeral)).toBe(true)
    expect(eventMatches(filter.room.accountData, { type: 'm.tag', content: {} })).toBe(false)
    expect([room, '!other:example.org', '!third:example.org'].map((id) => roomMatches(filter.room, id))).toEqual([
      true,
      false,
      false,
    ])
  })

  it('may have fields that nobody knows', () => {
    expect(parseRoomEventFilter({ 'org.matrix.msc3874.rel_types': ['m.thread'], limit: 5 }).limit).toBe(5)
  })

  it.each<[string, Json]>([
    ['', null],
    ['', []],
    ['', 'filter'],
    ['event_fields', { event_fields: 'content' }],
    ['event_fields', { event_fields: [1] }],
    ['event_format', { event_format: 'xml' }],
    ['event_format', { event_format: null }],
    ['presence', { presence: [] }],
    ['presence.limit', { presence: { limit: '10' } }],
    ['account_data.not_senders', { account_data: { not_senders: alice } }],
    ['room', { room: null }],
    ['room.rooms', { room: { rooms: [null] } }],
    ['room.not_rooms', { room: { not_rooms: {} } }],
    ['room.include_leave', { room: { include_leave: 'true' } }],
    ['room.state', { room: { state: true } }],
    ['room.state.lazy_load_members', { room: { state: { lazy_load_members: 1 } } }],
    ['room.timeline.limit', { room: { timeline: { limit: -1 } } }],
    ['room.timeline.limit', { room: { timeline: { limit: 1.5 } } }],
    ['room.timeline.types', { room: { timeline: { types: [['m.room.message']] } } }],
    ['room.timeline.contains_url', { room: { timeline: { contains_url: null } } }],
    ['room.ephemeral.rooms', { room: { ephemeral: { rooms: 'all' } } }],
    ['room.account_data.types', { room: { account_data: { types: 7 } } }],
  ])('is refused for its field %j: %j', (field, json) => {
    const parse = () => parseFilter(json)
    expect(parse).toThrow(FilterError)
    expect(parse).toThrow(expect.objectContaining({ field }))
  })

  it('is either parsed or refused, whatever JSON it is', () => {
    const names = ['room', 'timeline', 'limit', 'types', 'event_fields', 'senders', '__proto__', 'presence']
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<Json[]>(null, true, 0, 1.5, 'x', '*'),
        fc.array(tie('tree')),
        fc.dictionary(fc.constantFrom(...names), tie('tree')),
      ),
    }))
    fc.assert(
      fc.property(tree, (json) => {
        try {
          parseFilter(json as Json)
        } catch (error) {
          expect(error).toBeInstanceOf(FilterError)
        }
      }),
      { seed: 20261124, numRuns: 1_000 },
    )
  })

  it('has limits between one and the most we give', () => {
    const limitOf = (limit: number) => parseRoomEventFilter({ limit }).limit
    expect([0, 1, 50, MAX_LIMIT, 10 ** 9].map(limitOf)).toEqual([1, 1, 50, MAX_LIMIT, MAX_LIMIT])
  })
})

describe('an event', () => {
  it.each<[string, JsonObject, Partial<FilteredEvent>, boolean]>([
    ['of a listed type passes', { types: ['m.room.topic', 'm.room.message'] }, {}, true],
    ['of another type does not', { types: ['m.room.topic'] }, {}, false],
    ['of any type does not pass an empty list', { types: [] }, {}, false],
    ['of an excluded type does not pass, though it is listed', { types: ['m.*'], not_types: ['m.room.*'] }, {}, false],
    ['from a listed sender passes', { senders: [alice] }, {}, true],
    ['from another sender does not', { senders: [bob] }, {}, false],
    ['from an excluded sender does not', { senders: [alice], not_senders: [alice] }, {}, false],
    ['without sender does not pass a list of senders', { senders: [alice] }, { sender: undefined }, false],
    ['without sender passes an exclusion', { not_senders: [alice] }, { sender: undefined }, true],
    ['of a listed room passes', { rooms: [room] }, {}, true],
    ['of another room does not', { rooms: ['!other:example.org'] }, {}, false],
    ['of an excluded room does not', { rooms: [room], not_rooms: [room] }, {}, false],
    ['with a url passes where one is wanted', { contains_url: true }, { content: { url: 'mxc://x/y' } }, true],
    ['without a url does not', { contains_url: true }, {}, false],
    ['with a url does not pass where none is wanted', { contains_url: false }, { content: { url: '' } }, false],
    ['without a url does', { contains_url: false }, {}, true],
  ])('%s', (_sentence, filter, changes, expected) => {
    expect(passes(filter, changes)).toBe(expected)
  })
})

describe('types', () => {
  it.each<[string, string, boolean]>([
    ['m.room.*', 'm.room.message', true],
    ['m.room.*', 'm.roomX', false],
    ['*', '', true],
    ['*.message', 'm.room.message', true],
    ['m.*.member', 'm.room.member', true],
    ['m.*.*.x', 'm.a.x', false],
    ['a*a', 'a', false],
    ['a*b*a', 'aba', true],
    ['M.room.message', 'm.room.message', false],
    ['m.room.messag?', 'm.room.message', false],
    ['m.room.message', 'm.room.message', true],
  ])('%j has %j: %j', (pattern, type, expected) => {
    expect(new TypePatterns([pattern]).has(type)).toBe(expected)
  })

  it('match as a regular expression does', () => {
    const letters = (...all: string[]) =>
      fc.array(fc.constantFrom(...all), { maxLength: 10 }).map((list) => list.join(''))
    fc.assert(
      fc.property(letters('a', 'b', '*'), letters('a', 'b'), (pattern, type) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`)
        expect(new TypePatterns([pattern]).has(type)).toBe(expression.test(type))
      }),
      { seed: 20261124, numRuns: 2_000 },
    )
  })
})

describe('event_fields', () => {
  const message: JsonObject = {
    type: 'm.room.message',
    sender: alice,
    content: {
      body: 'hello',
      'm.relates_to': { rel_type: 'm.thread', event_id: '$root' },
      deep: { a: { b: 1, c: 2 } },
    },
  }
  it.each<[readonly string[], JsonObject]>([
    [[], {}],
    [['type'], { type: 'm.room.message' }],
    [['content.body', 'sender'], { content: { body: 'hello' }, sender: alice }],
    [['content.m\\.relates_to.rel_type'], { content: { 'm.relates_to': { rel_type: 'm.thread' } } }],
    [['content.deep.a.b', 'content.deep.a'], { content: { deep: { a: { b: 1, c: 2 } } } }],
    [['content.deep.a', 'content.deep.a.b'], { content: { deep: { a: { b: 1, c: 2 } } } }],
    [['content.missing', 'type.length', 'constructor'], {}],
  ])('%j selects %j', (fields, expected) => {
    const { eventFields } = parseFilter({ event_fields: fields })
    expect(selectFields(message, eventFields!)).toEqual(expected)
  })

  it('select own __proto__ keys as any other', () => {
    const { eventFields } = parseFilter({ event_fields: ['content.__proto__'] })
    const selected = selectFields(JSON.parse('{"content":{"__proto__":{"x":1},"y":2}}') as JsonObject, eventFields!)
    expect(JSON.stringify(selected)).toBe('{"content":{"__proto__":{"x":1}}}')
  })
})
