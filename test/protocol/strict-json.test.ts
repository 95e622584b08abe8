import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { JsonError, MAX_JSON_DEPTH, parseJson } from '../../src/protocol/strict-json.js'

/** A value, or the kind of the error. */
function outcome(text: string): unknown {
  try {
    return parseJson(text).value
  } catch (cause) {
    if (cause instanceof JsonError) return cause.kind
    throw cause
  }
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

describe('parseJson', () => {
  it('agrees with JSON.parse on every JSON text', () => {
    const run = fc.property(fc.json(), fc.constantFrom(undefined, 1, '\t'), (text, space) => {
      const spaced = JSON.stringify(JSON.parse(text), undefined, space)
      expect(parseJson(text).value).toEqual(JSON.parse(text))
      expect(parseJson(spaced).value).toEqual(JSON.parse(spaced))
    })
    fc.assert(run, { seed: 1, numRuns: 1000 })
  })

  it('refuses what JSON.parse refuses', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      '"a"',
      '1',
      '-',
      '.',
      'e',
      'null',
      '\\',
      ' ',
      '\n',
      '\u0000',
    )
    const run = fc.property(fc.array(pieces, { maxLength: 12 }), (tokens) => {
      const text = tokens.join('')
      let expected: unknown
      try {
        expected = JSON.parse(text)
      } catch {
        expected = 'syntax'
      }
      const actual = outcome(text)
      if (actual !== 'duplicate-key') expect(actual).toEqual(expected)
    })
    fc.assert(run, { seed: 2, numRuns: 5000 })
  })

  it.each([
    '',
    ' ',
    '{',
    '{"a":1',
    '[1,]',
    '{"a" 1}',
    "{'a':1}",
    '01',
    '+1',
    'NaN',
    'Infinity',
    '"\n"',
    '\ufeff{}',
    'undefined',
    '{}{}',
  ])('finds no JSON in %j', (text) => {
    expect(outcome(text)).toBe('syntax')
  })

  it.each([
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '[{"b":{"a":{},"c":1,"a":[{"x":1}]}}]',
    '{"__proto__":1,"__proto__":2}',
    '{"1":1,"1":1}',
    '{"":1,"":2}',
    '{"a\\"":1,"a\\u0022":2}',
  ])('refuses the key that comes twice in %s', (text) => {
    expect(outcome(text)).toBe('duplicate-key')
  })

  it.each(['{"a":{"a":{"a":1}}}', '[{"a":1},{"a":1}]', '{"a":":","b":"{\\"a\\":1,\\"a\\":2}"}', '{"a":1,"A":1}'])(
    'does not take equal keys of different objects, or text, for a repetition: %s',
    (text) => {
      expect(outcome(text)).toEqual(JSON.parse(text))
    },
  )

  it.each([
    '"\\ud800"',
    '["\\uDC00"]',
    '{"\\ud83d":1}',
    '{"a":{"b":"x\\udfffy"}}',
    '"\\ude00\\ud83d"',
    '"\ud800"',
    '{"\udc00":1}',
  ])('refuses half a surrogate pair: %j', (text) => {
    expect(outcome(text)).toBe('lone-surrogate')
  })

  it.each(['"\\ud83d\\ude00"', '"😀"', '{"\\ud83d\\ude00":"\\\\ud800"}'])(
    'takes a whole surrogate pair: %s',
    (text) => {
      expect(outcome(text)).toEqual(JSON.parse(text))
    },
  )

  it(`takes ${MAX_JSON_DEPTH} levels of nesting and no more, however many there are`, () => {
    expect(outcome(nested(MAX_JSON_DEPTH))).toEqual(JSON.parse(nested(MAX_JSON_DEPTH)))
    expect(outcome(nested(MAX_JSON_DEPTH + 1))).toBe('too-deep')
    expect(outcome(nested(1_000_000))).toBe('too-deep')
    expect(outcome('{"a":'.repeat(200_000))).toBe('too-deep')
    expect(outcome(`"${'['.repeat(1000)}"`)).toBe('['.repeat(1000))
  })

  it.each<[string, string | undefined]>([
    ['{"a":1,"b":-1,"c":0}', undefined],
    ['9007199254740991', undefined],
    ['-9007199254740991', undefined],
    ['9007199254740992', '9007199254740992'],
    ['-9007199254740992', '-9007199254740992'],
    ['[1, 1.0]', '1.0'],
    ['{"a":[1e3],"b":2.5}', '1e3'],
    ['1E400', '1E400'],
    ['{"a":-0}', '-0'],
    ['-0.0', '-0.0'],
    ['100000000000000000000000000', '100000000000000000000000000'],
    ['{"a":"1.0","1e3":"-0"}', undefined],
    ['[1,2 ,\n3]', undefined],
    ['[10,-10,100000000000000]', undefined],
  ])('of the numbers in %s canonical JSON could not have written %s', (text, number) => {
    expect(parseJson(text).nonCanonicalNumber).toBe(number)
  })

  it('keeps own __proto__ keys and NUL through canonical JSON and back', () => {
    const text = '{"__proto__":{"a":1},"a\\u0000":"\\u0000","constructor":2,"x":{"__proto__":null}}'
    const { value } = parseJson(text)
    expect(Object.hasOwn(value as object, '__proto__')).toBe(true)
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect(canonicalJson(value)).toBe(text)
    expect(canonicalJson(parseJson(canonicalJson(value)).value)).toBe(text)
  })

  it('quotes nothing of the text in its message', () => {
    expect(() => parseJson('{"password":"hunter2"')).toThrow(/^Not valid JSON$/)
  })
})
