import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { checkPduFormat, checkSize, MAX_EVENT_BYTES, roomEventOf } from '../../src/protocol/pdu.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'

const rules = (version: string) => rulesOf(version)!
const id = (letter: string) => '$' + letter.repeat(43)

/** A valid event of a version. */
function valid(version: string): JsonObject {
  const pairs = rules(version).eventReferenceFormat === 'id-and-hash'
  const reference = (letter: string): Json => (pairs ? [`$${letter}:a`, { sha256: 'x' }] : id(letter))
  return {
    type: 'm.room.message',
    sender: '@alice:example.org',
    room_id: version === '12' ? '!' + 'r'.repeat(43) : '!room:example.org',
    content: { body: 'x' },
    origin_server_ts: 1700000000000,
    depth: 7,
    auth_events: [reference('a'), reference('b')],
    prev_events: [reference('p')],
    hashes: { sha256: 'x' },
    signatures: { 'example.org': { 'ed25519:a': 'x' } },
    ...(pairs ? { event_id: '$event:example.org' } : {}),
  }
}

const accepts = (version: string, change: JsonObject) =>
  checkPduFormat(rules(version), { ...valid(version), ...change }).allowed
const repeated = (version: string, count: number) =>
  Array.from({ length: count }, () => (valid(version)['prev_events'] as readonly Json[])[0]!)

/** sentence, change, and the versions in which the changed event is still one: all, none, or those from and to a number. */
const all = () => true
const none = () => false
const since = (first: number) => (version: number) => version >= first
const until = (last: number) => (version: number) => version <= last

const changes: [string, JsonObject | ((version: string) => JsonObject), (version: number) => boolean][] = [
  ['no change', {}, all],
  ['a state key', { state_key: '' }, all],
  ['unknown keys', { msc4354_sticky: { duration_ms: 1 }, redacts: 5, origin: null }, all],
  ['unsigned data', { unsigned: { age: 1 } }, all],
  ['unsigned that is no object', { unsigned: [] }, none],
  ['a historical sender', { sender: '@Älice 😀:example.org' }, all],
  ['a sender without a server', { sender: '@alice' }, none],
  ['a sender that is no string', { sender: 1 }, none],
  ['no sender', { sender: undefined }, none],
  ['a sender of 256 bytes', { sender: `@${'a'.repeat(253)}:b` }, none],
  ['a room id with a server', { room_id: '!room:example.org' }, until(11)],
  ['a room id that is a hash', { room_id: '!' + 'r'.repeat(43) }, since(12)],
  ['no room id', { room_id: undefined }, none],
  ['no room id, in a create event', { room_id: undefined, type: 'm.room.create', state_key: '' }, since(12)],
  ['a room id that is null, in a create event', { room_id: null, type: 'm.room.create' }, none],
  ['no event id', { event_id: undefined }, since(3)],
  ['an event id that is a hash', { event_id: id('e') }, since(3)],
  ['no type', { type: undefined }, none],
  ['an empty type', { type: '' }, all],
  ['a type of 255 bytes', { type: 't'.repeat(255) }, all],
  ['a type of 256 bytes', { type: 'é'.repeat(128) }, until(10)],
  ['a type of 256 code points', { type: 't'.repeat(256) }, none],
  ['a state key of 255 bytes', { state_key: 't'.repeat(255) }, all],
  ['a state key of 256 bytes', { state_key: 'é'.repeat(128) }, until(10)],
  ['a state key of 255 code points of four bytes', { state_key: '💥'.repeat(255) }, until(10)],
  ['a state key of 256 code points', { state_key: '💥'.repeat(256) }, none],
  ['a state key that is null', { state_key: null }, none],
  ['a state key with NUL', { state_key: '\0' }, all],
  ['no content', { content: undefined }, none],
  ['a content that is an array', { content: [] }, none],
  ['no timestamp', { origin_server_ts: undefined }, none],
  ['a timestamp that is text', { origin_server_ts: '1' }, none],
  ['a timestamp that is a float', { origin_server_ts: 1.5 }, none],
  ['a timestamp beyond 2^53 - 1', { origin_server_ts: 2 ** 53 }, until(5)],
  ['depth 0', { depth: 0 }, all],
  ['a negative depth', { depth: -1 }, none],
  ['the depth 2^53 - 1', { depth: 2 ** 53 - 1 }, all],
  ['the depth 2^53', { depth: 2 ** 53 }, until(5)],
  ['the depth 2^63 - 1', { depth: parseExactJson('9223372036854775807') }, until(5)],
  ['the depth 2^64', { depth: 2 ** 64 }, none],
  ['a depth that is a float', { depth: 1.5 }, none],
  ['no depth', { depth: undefined }, none],
  ['a float in the content', { content: { level: 50.57 } }, until(5)],
  ['a float in unsigned', { unsigned: { age: 0.5 } }, until(5)],
  ['an infinite number', { content: { level: Infinity } }, none],
  ['half a surrogate pair', { content: { body: '\ud800' } }, none],
  ['no hashes', { hashes: undefined }, none],
  ['hashes without sha256', { hashes: {} }, none],
  ['a sha256 that is no string', { hashes: { sha256: 1 } }, none],
  ['no signatures', { signatures: undefined }, none],
  ['an empty list of signatures', { signatures: {} }, all],
  ['a server whose signatures are no object', { signatures: { a: 'x' } }, none],
  ['a signature that is no string', { signatures: { a: { 'ed25519:a': 1 } } }, none],
  ['no auth events', { auth_events: [] }, all],
  ['auth_events missing', { auth_events: undefined }, none],
  ['10 auth events', (version) => ({ auth_events: repeated(version, 10) }), all],
  ['11 auth events', (version) => ({ auth_events: repeated(version, 11) }), none],
  ['20 prev events', (version) => ({ prev_events: repeated(version, 20) }), all],
  ['21 prev events', (version) => ({ prev_events: repeated(version, 21) }), none],
  ['prev_events that are an object', { prev_events: {} }, none],
  ['event ids as references', { prev_events: [id('p')] }, since(3)],
  ['pairs as references', { prev_events: [['$p:a', { sha256: 'x' }]] }, until(2)],
  ['pairs of the wrong length', { prev_events: [['$p:a']] }, none],
  ['a reference that is no event id', { prev_events: ['p'] }, none],
  ['a reference that is null', { auth_events: [null] }, none],
]

describe.each(changes)('an event with %s', (_sentence, change, isValid) => {
  it.each(roomVersionNames)('in room version %s', (version) => {
    expect(accepts(version, typeof change === 'function' ? change(version) : change)).toBe(isValid(Number(version)))
  })
})

describe('checkPduFormat', () => {
  it('says which field is wrong', () => {
    expect(checkPduFormat(rules('12'), { ...valid('12'), depth: -1 })).toEqual({
      allowed: false,
      reason: 'depth is not an integer within its limits',
    })
  })

  it('takes nothing from a prototype', () => {
    expect(checkPduFormat(rules('12'), Object.create(valid('12')) as JsonObject).allowed).toBe(false)
  })

  it('never throws, whatever a field holds', () => {
    const odd: Json[] = [null, true, 1, -1, 1.5, '', 'x', [], [null], [[]], {}, { a: null }, { sha256: {} }]
    for (const version of roomVersionNames) {
      for (const key of Object.keys(valid(version))) {
        for (const value of odd) expect(typeof accepts(version, { [key]: value })).toBe('boolean')
      }
    }
  })
})

describe('checkSize', () => {
  it('counts bytes of UTF-8, not characters', () => {
    expect(checkSize('a'.repeat(MAX_EVENT_BYTES)).allowed).toBe(true)
    expect(checkSize('a'.repeat(MAX_EVENT_BYTES + 1)).allowed).toBe(false)
    expect(checkSize('é'.repeat(MAX_EVENT_BYTES / 2)).allowed).toBe(true)
    expect(checkSize('é'.repeat(MAX_EVENT_BYTES / 2) + 'a').allowed).toBe(false)
  })
})

describe('roomEventOf', () => {
  it('reads references of both forms as event ids', () => {
    expect(roomEventOf(rules('1'), valid('1'))).toMatchObject({
      eventId: '$event:example.org',
      authEvents: ['$a:a', '$b:a'],
      prevEvents: ['$p:a'],
    })
    expect(roomEventOf(rules('3'), valid('3'))).toMatchObject({ authEvents: [id('a'), id('b')], prevEvents: [id('p')] })
  })

  it('has the whole PDU, and an id that is computed unless it is given', () => {
    const pdu = { ...valid('12'), state_key: '', other: 1 }
    const event = roomEventOf(rules('12'), pdu, '$known')
    expect(event).toEqual({
      eventId: '$known',
      roomId: pdu['room_id' as keyof typeof pdu],
      type: 'm.room.message',
      sender: '@alice:example.org',
      stateKey: '',
      content: { body: 'x' },
      originServerTs: 1700000000000,
      depth: 7,
      authEvents: [id('a'), id('b')],
      prevEvents: [id('p')],
      redacts: undefined,
      pdu,
    })
    expect(event.pdu).toBe(pdu)
    expect(roomEventOf(rules('12'), pdu).eventId).toMatch(/^\$[\w-]{43}$/)
    expect(roomEventOf(rules('12'), valid('12')).stateKey).toBeUndefined()
  })

  it.each(roomVersionNames)('finds in version %s what a redaction redacts, where that version keeps it', (version) => {
    const pdu = { ...valid(version), type: 'm.room.redaction', redacts: '$top', content: { redacts: '$content' } }
    expect(roomEventOf(rules(version), pdu).redacts).toBe(Number(version) >= 11 ? '$content' : '$top')
    expect(roomEventOf(rules(version), { ...pdu, type: 'm.room.message' }).redacts).toBeUndefined()
    expect(roomEventOf(rules(version), { ...pdu, redacts: 1, content: { redacts: {} } }).redacts).toBeUndefined()
  })

  it('of a create event in version 12 is in the room that its id names', () => {
    const pdu = { ...valid('12'), type: 'm.room.create', room_id: undefined }
    const { eventId, roomId } = roomEventOf(rules('12'), pdu)
    expect(roomId).toBe('!' + eventId.slice(1))
  })
})
