import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { JsonObject } from '../../src/protocol/json.js'
import { redact } from '../../src/protocol/redaction.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'

const rules = (version: string) => rulesOf(version)!
const contentAfter = (version: string, type: string, content: JsonObject) =>
  redact(rules(version), { type, content })['content']

const numbers = roomVersionNames.map(Number)
const levels = {
  ban: 1,
  events: { a: 1 },
  events_default: 2,
  kick: 3,
  redact: 4,
  state_default: 5,
  users: { '@a:b': 6 },
  users_default: 7,
}

/** type, content, and what is left of it in each version. */
const cases: [string, JsonObject, (version: number) => JsonObject][] = [
  [
    'm.room.member',
    {
      membership: 'join',
      displayname: 'x',
      join_authorised_via_users_server: '@a:b',
      third_party_invite: { signed: { token: 't' }, display_name: 'x' },
    },
    (version) => ({
      membership: 'join',
      ...(version >= 9 ? { join_authorised_via_users_server: '@a:b' } : {}),
      ...(version >= 11 ? { third_party_invite: { signed: { token: 't' } } } : {}),
    }),
  ],
  [
    'm.room.create',
    { creator: '@a:b', room_version: '1', 'm.federate': false },
    (version) => (version >= 11 ? { creator: '@a:b', room_version: '1', 'm.federate': false } : { creator: '@a:b' }),
  ],
  [
    'm.room.join_rules',
    { join_rule: 'restricted', allow: [{ type: 'x' }], x: 1 },
    (version) => ({ join_rule: 'restricted', ...(version >= 8 ? { allow: [{ type: 'x' }] } : {}) }),
  ],
  [
    'm.room.power_levels',
    { ...levels, invite: 8, notifications: { room: 9 }, x: 1 },
    (version) => ({ ...levels, ...(version >= 11 ? { invite: 8 } : {}) }),
  ],
  ['m.room.history_visibility', { history_visibility: 'shared', x: 1 }, () => ({ history_visibility: 'shared' })],
  ['m.room.aliases', { aliases: ['#a:b'], x: 1 }, (version) => (version <= 5 ? { aliases: ['#a:b'] } : {})],
  ['m.room.redaction', { redacts: '$x', reason: 'x' }, (version) => (version >= 11 ? { redacts: '$x' } : {})],
  ['m.room.message', { body: 'x', membership: 'join', creator: '@a:b' }, () => ({})],
  ['m.room.server_acl', { allow: ['*'], deny: [] }, () => ({})],
  ['m.room.name', { name: 'x' }, () => ({})],
]

describe.each(cases)('the content of a redacted %s', (type, content, left) => {
  it.each(numbers)('is what room version %i keeps', (version) => {
    expect(contentAfter(String(version), type, content)).toEqual(left(version))
  })
})

describe('redact', () => {
  const keptAlways = {
    event_id: '$x:a',
    type: 'm.room.message',
    room_id: '!r:a',
    sender: '@a:a',
    state_key: '',
    hashes: { sha256: 'x' },
    signatures: { a: { 'ed25519:1': 'x' } },
    depth: 1,
    prev_events: ['$a'],
    auth_events: ['$b'],
    origin_server_ts: 2,
    content: {},
  }
  const keptOnce = { origin: 'a', membership: 'join', prev_state: [] }
  const never = { unsigned: { age: 1 }, redacts: '$x', msc4354_sticky: { duration_ms: 1 }, age_ts: 3, prev_content: {} }

  it.each(numbers)('keeps the top-level keys of room version %i', (version) => {
    const redacted = redact(rules(String(version)), { ...keptAlways, ...keptOnce, ...never, content: { body: 'x' } })
    expect(redacted).toEqual(version <= 10 ? { ...keptAlways, ...keptOnce } : keptAlways)
  })

  it('keeps a whole create content, own __proto__ key included, from version 11 on', () => {
    const content = JSON.parse('{"__proto__":{"a":1},"b":2}') as JsonObject
    expect(JSON.stringify(contentAfter('11', 'm.room.create', content))).toBe('{"__proto__":{"a":1},"b":2}')
  })

  it('takes no key from a prototype', () => {
    const inherited = Object.create({ membership: 'join' }) as JsonObject
    expect(contentAfter('1', 'm.room.member', inherited)).toEqual({})
  })

  it('keeps falsy values', () => {
    expect(contentAfter('1', 'm.room.member', { membership: null })).toEqual({ membership: null })
    expect(contentAfter('1', 'm.room.power_levels', { ban: 0 })).toEqual({ ban: 0 })
  })

  it.each([
    [
      'a third_party_invite without signed leaves an empty object',
      { third_party_invite: { x: 1 } },
      { third_party_invite: {} },
    ],
    ['a third_party_invite that is no object goes', { third_party_invite: 'x' }, {}],
  ])('from version 11 on %s', (_sentence, content, left) => {
    expect(contentAfter('11', 'm.room.member', content)).toEqual(left)
  })

  it.each([undefined, null, 'x', 1, []])('leaves an empty content where the content is %j', (content) => {
    expect(redact(rules('12'), { type: 'm.room.create', content })).toEqual({ type: 'm.room.create', content: {} })
  })

  it.each(roomVersionNames)('done twice is done once, in version %s', (version) => {
    const keys = [...Object.keys(keptAlways), ...Object.keys(keptOnce), ...Object.keys(never)]
    const contentKeys = [...new Set(cases.flatMap(([, content]) => Object.keys(content)))]
    const pdus = fc.record(
      {
        ...Object.fromEntries(keys.map((key) => [key, fc.jsonValue({ maxDepth: 1 })])),
        type: fc.constantFrom(...cases.map(([type]) => type)),
        content: fc.dictionary(fc.constantFrom(...contentKeys), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 12 }),
      },
      { requiredKeys: ['type', 'content'] },
    )
    const run = fc.property(pdus, (pdu) => {
      const once = redact(rules(version), pdu as JsonObject)
      expect(redact(rules(version), once)).toEqual(once)
    })
    fc.assert(run, { seed: 8, numRuns: 200 })
  })
})
