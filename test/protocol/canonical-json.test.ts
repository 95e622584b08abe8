import { describe, expect, it } from '@jest/globals'
import stringify from 'canonical-json'
import fc from 'fast-check'
import {
  addMember,
  CanonicalJsonError,
  canonicalJson,
  canonicalMembers,
  compareCodePoints,
  joinMembers,
  joinMembersForGood,
} from '../../src/protocol/canonical-json.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { MAX_EVENT_JSON_DEPTH, parseJson } from '../../src/protocol/strict-json.js'

/** By code points, in another way than the code under test: UTF-8 keeps their order. */
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** The independent implementation, in the form that neither drops `__proto__` nor reorders digits. */
const oracle = (value: Json) => stringify(value, (_key, item: unknown) => item, undefined, byBytes)

const key = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.constantFrom(
    '__proto__',
    '10',
    '9',
    '',
    'a',
    'A',
    '\u0000',
    '\u007f',
    '\uff61',
    '😀',
    '😀a',
    '\ufffd',
    'toString',
  ),
)
const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"', '\\', '\n', '\u001f', '\u2028', '<>&'))
const { value: canonical } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    text,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }).map((entries): JsonObject => Object.fromEntries(entries)),
  ),
}))

describe('the vectors of the specification', () => {
  it.each([
    ['{}', '{}'],
    ['{\n    "one": 1,\n    "two": "Two"\n}', '{"one":1,"two":"Two"}'],
    ['{\n    "b": "2",\n    "a": "1"\n}', '{"a":"1","b":"2"}'],
    ['{"b":"2","a":"1"}', '{"a":"1","b":"2"}'],
    [
      '{"auth":{"success":true,"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"medium":"email","address":"john.doe@example.org"},{"medium":"msisdn","address":"123456789"}]}}}',
      '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
    ],
    ['{"a": "日本語"}', '{"a":"日本語"}'],
    ['{"本": 2, "日": 1}', '{"日":1,"本":2}'],
    ['{"a": "\\u65E5"}', '{"a":"日"}'],
    ['{"a": null}', '{"a":null}'],
    ['{"a": -0, "b": 1e10}', '{"a":0,"b":10000000000}'],
    ['{"\\uD83D\\uDE00":1,"\\uFF61":2}', '{"｡":2,"😀":1}'],
  ])('%s is written %s', (input, expected) => {
    expect(canonicalJson(parseJson(input).value)).toBe(expected)
  })
})

describe('canonicalJson', () => {
  it('is a fixed point of reading and writing', () => {
    const run = fc.property(canonical, (value) => {
      const written = canonicalJson(value)
      const { value: read, nonCanonicalNumber } = parseJson(written)
      expect(nonCanonicalNumber).toBeUndefined()
      expect(canonicalJson(read)).toBe(written)
    })
    fc.assert(run, { seed: 3, numRuns: 1000 })
  })

  it('agrees with canonical-json, given a replacer and the order of code points', () => {
    const run = fc.property(canonical, (value) => expect(canonicalJson(value)).toBe(oracle(value)))
    fc.assert(run, { seed: 4, numRuns: 2000 })
  })

  it('sorts as UTF-8 does', () => {
    const run = fc.property(key, key, (a, b) => {
      expect(Math.sign(compareCodePoints(a, b))).toBe(byBytes(a, b))
    })
    fc.assert(run, { seed: 5, numRuns: 2000 })
  })

  it('is what the members of an object make when joined, also when one comes later or is left out', () => {
    const run = fc.property(fc.dictionary(key, canonical), key, canonical, (object, added, value) => {
      const members = canonicalMembers(object)
      expect(joinMembers(members)).toBe(canonicalJson(object))

      const others = members.filter((member) => member.key !== added)
      const [member] = canonicalMembers({ [added]: value })
      const whole = canonicalJson({ ...object, [added]: value })
      const all = [...others]
      addMember(all, member!)
      expect(joinMembers(all)).toBe(whole)
      expect(joinMembersForGood(all)).toBe(whole)
      expect(joinMembers(all, added)).toBe(joinMembers(others))
      expect(joinMembersForGood(others)).toBe(joinMembers(others))
    })
    fc.assert(run, { seed: 6, numRuns: 500 })
  })

  it('escapes control characters in the shortest way and nothing else', () => {
    expect(canonicalJson('\b\t\n\f\r"\\/\u0000\u001f\u007f\u2028')).toBe(
      '"\\b\\t\\n\\f\\r\\"\\\\/\\u0000\\u001f\u007f\u2028"',
    )
  })

  it('puts digits in the order of text, and leaves out keys that are undefined', () => {
    expect(canonicalJson({ 10: 1, 9: 2, '!': 3, a: undefined, b: undefined })).toBe('{"!":3,"10":1,"9":2}')
    expect(canonicalJson({ a: undefined })).toBe('{}')
  })

  it.each<[string, unknown]>([
    ['a float', 1.5],
    ['an integer beyond 2^53 - 1', 2 ** 53],
    ['an integer below -(2^53) + 1', -(2 ** 53)],
    ['infinity', Infinity],
    ['not a number', NaN],
    ['half a surrogate pair', '\ud800'],
    ['half a surrogate pair in a key', { 'a\udc00': 1 }],
    ['a value that is not JSON', { a: 1n }],
    ['undefined in an array', [undefined]],
  ])('refuses %s, at any depth', (_name, value) => {
    expect(() => canonicalJson(value as Json)).toThrow(CanonicalJsonError)
    expect(() => canonicalJson({ a: [{ b: value as Json }] })).toThrow(CanonicalJsonError)
  })

  it('refuses what is nested too deeply, and takes what the parser takes', () => {
    const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as Json
    expect(canonicalJson(nested(MAX_EVENT_JSON_DEPTH))).toHaveLength(2 * MAX_EVENT_JSON_DEPTH)
    expect(() => canonicalJson(nested(MAX_EVENT_JSON_DEPTH + 1))).toThrow(CanonicalJsonError)
    expect(() => canonicalJson(nested(5000))).toThrow(CanonicalJsonError)
  })

  it.each([
    ['50.57', '50.57'],
    ['0.0001', '0.0001'],
    ['0.00001', '1e-05'],
    ['-0.000012', '-1.2e-05'],
    ['1.5e-300', '1.5e-300'],
    ['1e-10', '1e-10'],
    ['9007199254740992', '9007199254740992'],
    ['-0', '0'],
    ['7', '7'],
  ])('writes the number %s of an old room as Python does: %s', (source, written) => {
    expect(canonicalJson(JSON.parse(source) as Json, 'any')).toBe(written)
  })

  it('has no text for an infinite number in old rooms either', () => {
    expect(() => canonicalJson(parseJson('[1e400]').value, 'any')).toThrow(CanonicalJsonError)
  })
})
