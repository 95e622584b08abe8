import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { powerLevels } from '../../src/protocol/authorization/index.js'
import { canonicalJson, CanonicalJsonError } from '../../src/protocol/canonical-json.js'
import { encodeBase64Url } from '../../src/protocol/base64.js'
import { contentHashMatches, referenceHash } from '../../src/protocol/hashes.js'
import { ExactNumber, isObject, numberOf, type Json, type JsonObject } from '../../src/protocol/json.js'
import { checkPduFormat, roomEventOf } from '../../src/protocol/pdu.js'
import { redact } from '../../src/protocol/redaction.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { JsonError, MAX_EVENT_JSON_DEPTH, parseExactJson, parseJson } from '../../src/protocol/strict-json.js'
import { createEvent } from './authorization/room.js'

/**
 * Room versions 1 to 5: numbers as their sender wrote them. What is written here as Python's was made by Python 3.11 with
 * the package canonicaljson 2.0.0, `encode_canonical_json(json.loads(text))`, as Synapse does.
 */
const rules = (version: string) => rulesOf(version)!

/** What was read, what Python writes. */
const written: [string, string][] = [
  ['0', '0'],
  ['-7', '-7'],
  ['1.0', '1.0'],
  ['1e5', '100000.0'],
  ['1E5', '100000.0'],
  ['1e+5', '100000.0'],
  ['-1.5E+3', '-1500.0'],
  ['0.1e1', '1.0'],
  ['-0', '0'],
  ['-0.0', '-0.0'],
  ['0.0', '0.0'],
  ['0e0', '0.0'],
  ['1e-400', '0.0'],
  ['-1e-400', '-0.0'],
  ['9007199254740991', '9007199254740991'],
  ['9007199254740993', '9007199254740993'],
  ['9007199254740993.0', '9007199254740992.0'],
  ['1152921504606846977', '1152921504606846977'],
  ['-1152921504606846977', '-1152921504606846977'],
  ['9223372036854775808', '9223372036854775808'],
  ['100000000000000000000000000', '100000000000000000000000000'],
  ['1e15', '1000000000000000.0'],
  ['9999999999999998.0', '9999999999999998.0'],
  ['1e16', '1e+16'],
  ['12345678901234567.0', '1.2345678901234568e+16'],
  ['123456789012345680.0', '1.2345678901234568e+17'],
  ['1e21', '1e+21'],
  ['1.5e21', '1.5e+21'],
  ['1e23', '1e+23'],
  ['-1e100', '-1e+100'],
  ['1.7976931348623157e308', '1.7976931348623157e+308'],
  ['1234567890123456.7', '1234567890123456.8'],
  ['4.35', '4.35'],
  ['0.30000000000000004', '0.30000000000000004'],
  ['1e-4', '0.0001'],
  ['0.00001', '1e-05'],
  ['2.5e-5', '2.5e-05'],
  ['-1e-7', '-1e-07'],
  ['5e-324', '5e-324'],
]

describe('parseExactJson', () => {
  it.each(written)('has the number %s written as Python writes it: %s', (source, python) => {
    expect(canonicalJson(parseExactJson(source), 'any')).toBe(python)
    expect(canonicalJson(parseExactJson(` { "a" : [ ${source} ] } `), 'any')).toBe(`{"a":[${python}]}`)
  })

  it.each(written)('reads what it wrote of %s as the same', (_source, python) => {
    expect(canonicalJson(parseExactJson(python), 'any')).toBe(python)
  })

  it('keeps every number where it stood, also beside keys that are digits or __proto__', () => {
    const text = '{"2":1.0,"1":[2.0,{"__proto__":3.0,"a":"4.0","b":"\\"5.0"}],"__proto__":{"x":-0,"y":1e2},"z":6.5}'
    expect(canonicalJson(parseExactJson(text), 'any')).toBe(
      '{"1":[2.0,{"__proto__":3.0,"a":"4.0","b":"\\"5.0"}],"2":1.0,"__proto__":{"x":0,"y":100.0},"z":6.5}',
    )
  })

  it('is JSON.parse where nothing is altered by that', () => {
    const run = fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      const text = JSON.stringify(value)
      const { nonCanonicalNumber, value: expected } = parseJson(text)
      if (nonCanonicalNumber === undefined) expect(parseExactJson(text)).toEqual(expected)
      expect(JSON.parse(JSON.stringify(parseExactJson(text)))).toEqual(JSON.parse(text))
    })
    fc.assert(run, { seed: 31, numRuns: 1000 })
  })

  it('reads every integer and every double as itself', () => {
    const integers = fc.property(fc.bigInt(), (number) => {
      expect(canonicalJson(parseExactJson(String(number)), 'any')).toBe(String(number))
    })
    fc.assert(integers, { seed: 32, numRuns: 500 })
    const doubles = fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      const read = canonicalJson(parseExactJson(Object.is(number, -0) ? '-0e0' : number.toExponential()), 'any')
      expect(Number(read)).toBe(number)
      expect(read).toMatch(/[.e]/)
    })
    fc.assert(doubles, { seed: 33, numRuns: 1000 })
  })

  it.each([
    '1.0,',
    '[1.0',
    '{"a":1.0,"a":2.0}',
    '["\\ud8000", 1.0]',
    '[01.0]',
    '[1.]',
    '[-]',
    '[1e]',
    'NaN',
    '-Infinity',
  ])('refuses %s as parseJson does', (text) => {
    expect(() => parseExactJson(text)).toThrow(JsonError)
  })

  it('takes thirty thousand such numbers in one event in its stride', () => {
    const text = `[${Array.from({ length: 30_000 }, () => '1.0').join(',')}]`
    expect(canonicalJson(parseExactJson(text), 'any')).toBe(text)
  })

  it.each(['1e400', '-1e400', '1'.repeat(4301)])(
    'what no hash was ever made of is no part of any event: %.10s',
    (source) => {
      expect(() => canonicalJson(parseExactJson(`[${source}]`), 'any')).toThrow(CanonicalJsonError)
    },
  )

  it.each(['1.0', '1e5', '-0', '9007199254740992', '50.57'])('strict canonical JSON has no %s', (source) => {
    expect(() => canonicalJson(parseExactJson(`[${source}]`))).toThrow(CanonicalJsonError)
  })

  it('is content with the depth at which other servers stop too', () => {
    const nested = (depth: number) => `${'['.repeat(depth)}1.0${']'.repeat(depth)}`
    expect(canonicalJson(parseExactJson(nested(MAX_EVENT_JSON_DEPTH)), 'any')).toBe(nested(MAX_EVENT_JSON_DEPTH))
    for (const depth of [MAX_EVENT_JSON_DEPTH + 1, 30_000]) {
      expect(() => parseExactJson(nested(depth))).toThrow(JsonError)
    }
  })

  it('makes numbers, not objects', () => {
    const number = parseExactJson('1.0')
    expect(number).toBeInstanceOf(ExactNumber)
    expect([isObject(number), numberOf(number), numberOf(5), numberOf('5'), numberOf({})]).toEqual([
      false,
      1,
      5,
      undefined,
      undefined,
    ])
    expect(JSON.stringify(parseExactJson('[1.0,-0,1152921504606846977]'))).toBe('[1,0,1152921504606847000]')
  })
})

/** A power levels event whose hashes Python made. */
const text = (sha256: string) => `{
  "auth_events": ["$${'a'.repeat(43)}"], "prev_events": ["$${'p'.repeat(43)}"], "type": "m.room.power_levels", "state_key": "",
  "content": {
    "ban": 50.0, "kick": -0, "redact": 5.05e1, "note": [-0.0, 1E22, 1e5, 12345678901234567.0, 0.00001],
    "users": {"@alice:a": 1e2, "@bob:a": 1152921504606846977, "__proto__": 1.0}, "users_default": -9007199254740993
  },
  "depth": 9223372036854775807, "hashes": {"sha256": "${sha256}"}, "origin_server_ts": 1700000000000.0,
  "room_id": "!r:a", "sender": "@alice:a", "signatures": {}, "unsigned": {"age": 1.0}
}`
const pdu = parseExactJson(text('lGmp+uuNMGcG/Uq4lZDlzV915KUn822y98E3ksjEnw0')) as JsonObject

describe('an event of room version 4 full of such numbers', () => {
  it('is well formed, while version 6 drops it', () => {
    expect(checkPduFormat(rules('4'), pdu)).toEqual({ allowed: true })
    expect(checkPduFormat(rules('6'), pdu).allowed).toBe(false)
  })

  it('has the content hash and the id that Synapse computes', () => {
    expect(contentHashMatches(rules('4'), pdu)).toBe(true)
    expect(encodeBase64Url(referenceHash(rules('4'), pdu))).toBe('nA1jtK-lGa2VT8Qt08xLY3eRJK7qM8ySfrqrjOY1V-U')
  })

  it('keeps both when it is written, read again, and redacted', () => {
    const again = parseExactJson(canonicalJson(pdu, 'any')) as JsonObject
    expect(contentHashMatches(rules('4'), again)).toBe(true)
    const redacted = parseExactJson(canonicalJson(redact(rules('4'), again), 'any')) as JsonObject
    expect(encodeBase64Url(referenceHash(rules('4'), redacted))).toBe('nA1jtK-lGa2VT8Qt08xLY3eRJK7qM8ySfrqrjOY1V-U')
  })

  it('has levels, cut at the point', () => {
    const event = roomEventOf(rules('4'), pdu)
    const levels = powerLevels(rules('4'), createEvent('4'), event)
    expect([levels.ban, levels.kick + 0, levels.redact, levels.levelOf('@alice:a')]).toEqual([50, 0, 50, 100])
    expect([levels.levelOf('@bob:a'), levels.usersDefault]).toEqual([2 ** 60, -(2 ** 53)])
  })

  it('has a depth and a time that the database takes', () => {
    const { depth, originServerTs } = roomEventOf(rules('4'), pdu)
    expect(originServerTs).toBe(1700000000000)
    expect(depth).toBe(Number.MAX_SAFE_INTEGER)
  })
})

/** sentence, key, number, whether versions 1 to 5 take it; later ones take none. */
const fields: [string, 'depth' | 'origin_server_ts', string, boolean][] = [
  ['the largest depth', 'depth', '9223372036854775807', true],
  ['a depth of 2^63', 'depth', '9223372036854775808', false],
  ['a huge depth', 'depth', '9'.repeat(400), false],
  ['a depth that is a float without a fraction', 'depth', '7.0', false],
  ['a depth with an exponent', 'depth', '1e3', false],
  ['a negative depth', 'depth', '-9223372036854775807', false],
  ['the depth -0', 'depth', '-0', false],
  ['a time that is a float without a fraction', 'origin_server_ts', '17e11', true],
  ['a time of 64 bits', 'origin_server_ts', '-9223372036854775807', true],
  ['a time beyond 64 bits', 'origin_server_ts', '1e19', false],
  ['a time with a fraction', 'origin_server_ts', '1.5', false],
]

describe.each(fields)('%s', (_sentence, key, source, isValid) => {
  it(`is ${isValid ? 'valid' : 'invalid'} in version 5 and invalid in version 6`, () => {
    const event = {
      ...pdu,
      content: {},
      unsigned: {},
      depth: 1,
      origin_server_ts: 1,
      [key]: parseExactJson(source) as Json,
    }
    expect(checkPduFormat(rules('5'), event).allowed).toBe(isValid)
    expect(checkPduFormat(rules('6'), event).allowed).toBe(false)
    if (isValid) {
      const { depth, originServerTs } = roomEventOf(rules('5'), event)
      for (const number of [depth, originServerTs]) expect(Number.isSafeInteger(number)).toBe(true)
    }
  })
})
