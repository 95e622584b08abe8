import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { elementTexts, memberTexts, partsOf, type JsonPart, type WantedParts } from '../../src/protocol/json-texts.js'
import { JsonError, MAX_EVENT_JSON_DEPTH } from '../../src/protocol/strict-json.js'
import { processorTime } from '../support/processor-time.js'

/** A result, or the kind of the error. */
function outcome<T>(of: () => T): T | string {
  try {
    return of()
  } catch (cause) {
    if (cause instanceof JsonError) return cause.kind
    throw cause
  }
}

/** The parts of a text that comes in pieces of these lengths, in turn. */
function cutInPieces(text: string, lengths: readonly number[], wanted: WantedParts, most?: number): JsonPart[] {
  const cutter = partsOf(wanted, most)
  const parts: JsonPart[] = []
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const length = lengths[turn % lengths.length]!
    parts.push(...cutter.push(text.slice(at, at + length)))
    at += length
  }
  cutter.end()
  return parts
}

const space = fc.constantFrom(undefined, 1, '\t', ' \r\n')
const pieces = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 })
/** `fc.json()` writes `-0` as `0` and no exponents, which JSON.stringify never does. */
const numbers = ['0', '-0', '1.0', '1e5', '-2.5E-3', '1e+2', '12345678901234567890', '0.10', '0e0']
const jsonText = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.json(), space).map(([text, by]) => JSON.stringify(JSON.parse(text), null, by)) },
  { weight: 1, arbitrary: fc.constantFrom(...numbers, '"\\ud800"', '"\\u00Fe\\"\\\\"', '{"a":1,"a":2}') },
)

describe('elementTexts', () => {
  it('cuts an array exactly where its elements are', () => {
    const gap = fc.constantFrom('', ' ', '\n\t')
    const run = fc.property(fc.array(jsonText), gap, (elements, between) => {
      const text = `${between}[${elements.map((one) => between + one + between).join(',')}${between}]${between}`
      expect(elementTexts(text)).toEqual(elements)
    })
    fc.assert(run, { seed: 1, numRuns: 200 })
  })

  it('takes an array only', () => {
    expect(outcome(() => elementTexts('{}'))).toBe('wrong-type')
    expect(outcome(() => elementTexts('1'))).toBe('wrong-type')
    expect(outcome(() => elementTexts('x'))).toBe('syntax')
  })
})

describe('memberTexts', () => {
  it('agrees with JSON.parse on every object', () => {
    const run = fc.property(fc.dictionary(fc.string({ unit: 'binary' }), jsonText), space, (members, by) => {
      const text = JSON.stringify(
        Object.fromEntries(Object.entries(members).map(([key, value]) => [key, JSON.parse(value)])),
        null,
        by,
      )
      const parsed = JSON.parse(text) as Record<string, unknown>
      const cut = memberTexts(text)
      expect(cut.size).toBe(Object.keys(parsed).length)
      for (const [key, value] of cut) expect(JSON.parse(value)).toEqual(parsed[key])
    })
    fc.assert(run, { seed: 2, numRuns: 200 })
  })

  it('keeps how each value was written', () => {
    const values = { a: '1.0', b: '-0', c: '{ "x" : 1, "x" : 2 }', d: '"\\u0061"', e: '[ 1e5 ]' }
    const text = `{${Object.entries(values)
      .map(([key, value]) => `"${key}" : ${value} `)
      .join(',')}}`
    expect(Object.fromEntries(memberTexts(text))).toEqual(values)
  })

  it('refuses what JSON.parse refuses, and no more', () => {
    const tokens = [
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      '"a"',
      '1',
      '0',
      '-',
      '.',
      'e',
      '+',
      'null',
      'nul',
      '\\',
      'u00e4',
    ]
    const token = fc.constantFrom(...tokens, ' ', '\n', '\u0000')
    const run = fc.property(fc.array(token, { maxLength: 12 }), pieces, (list, lengths) => {
      const text = `{"key":${list.join('')}}`
      const isJson = outcome(() => {
        try {
          return JSON.parse(text) as unknown
        } catch (cause) {
          throw new JsonError('syntax', { cause })
        }
      })
      const cut = outcome(() => memberTexts(text))
      const inPieces = outcome(() => cutInPieces(text, lengths, {}))
      if (cut !== 'duplicate-key') expect(cut === 'syntax').toBe(isJson === 'syntax')
      expect(inPieces === 'syntax').toBe(isJson === 'syntax')
    })
    fc.assert(run, { seed: 3, numRuns: 3000 })
  })

  it.each([
    '',
    ' ',
    '{',
    '{"a":1',
    '{"a":1}}',
    '{"a":1} 2',
    '{"a":01}',
    '{"a":tru}',
    '{"a":"\\x"}',
    '{"a":[1}',
    '\ufeff{}',
  ])('finds no JSON in %j', (text) => {
    expect(outcome(() => memberTexts(text))).toBe('syntax')
  })

  it('refuses a key that comes twice, however it is written', () => {
    expect(outcome(() => memberTexts('{"a":1,"\\u0061":2}'))).toBe('duplicate-key')
  })

  it('keeps keys that mean something to JavaScript', () => {
    expect([...memberTexts('{"__proto__":1,"9":2,"10":3,"constructor":4}')]).toEqual([
      ['__proto__', '1'],
      ['9', '2'],
      ['10', '3'],
      ['constructor', '4'],
    ])
  })

  it('is bounded in depth', () => {
    const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    expect(memberTexts(nested(MAX_EVENT_JSON_DEPTH)).size).toBe(1)
    expect(outcome(() => memberTexts(nested(100_000)))).toBe('too-deep')
  })

  it('takes time in proportion to the text', () => {
    const events = Array.from(
      { length: 20_000 },
      (_, at) => `{"content":{"body":"${'\\n\\"x'.repeat(40)}"},"at":${at}}`,
    )
    const text = `{"pdus":[${events.join(',')}]}`
    const begin = processorTime()
    expect(elementTexts(memberTexts(text).get('pdus')!)).toHaveLength(20_000)
    expect(processorTime() - begin).toBeLessThan(5_000)
  })
})

describe('partsOf', () => {
  const answer = JSON.stringify({
    origin: 'a.example',
    state: [{ type: 'm.room.create' }, { n: 1 }, 'not an event'],
    unknown: { state: [1, 2], auth_chain: 3 },
    auth_chain: [],
    members_omitted: true,
    servers_in_room: ['a.example', 'b.example'],
  })
  const wanted = { elements: ['state', 'auth_chain', 'servers_in_room'], members: ['members_omitted', 'event'] }

  it('yields elements of some keys and whole values of others, whatever the chunks', () => {
    const run = fc.property(pieces, space, (lengths, by) => {
      const parts = cutInPieces(JSON.stringify(JSON.parse(answer), null, by), lengths, wanted)
      expect(parts.map(({ key, text }) => [key, JSON.parse(text)])).toEqual([
        ['state', { type: 'm.room.create' }],
        ['state', { n: 1 }],
        ['state', 'not an event'],
        ['members_omitted', true],
        ['servers_in_room', 'a.example'],
        ['servers_in_room', 'b.example'],
      ])
    })
    fc.assert(run, { seed: 4, numRuns: 100 })
  })

  it('cuts a text in pieces as it cuts the whole', () => {
    const run = fc.property(fc.dictionary(fc.string(), jsonText), pieces, (members, lengths) => {
      const text = `{${Object.entries(members)
        .map(([key, value]) => `${JSON.stringify(key)}:${value}`)
        .join(',')}}`
      const parts = cutInPieces(text, lengths, { members: 'all' })
      expect(parts.map(({ key, text }) => [key, text])).toEqual([...memberTexts(text)])
    })
    fc.assert(run, { seed: 5, numRuns: 300 })
  })

  it('yields each element as soon as it is complete', () => {
    const cutter = partsOf({ elements: ['state'] })
    expect(cutter.push('{"state":[{"a":1}')).toEqual([{ key: 'state', text: '{"a":1}' }])
    expect(cutter.push(',{"a":')).toEqual([])
    expect(cutter.push('2},3')).toEqual([{ key: 'state', text: '{"a":2}' }])
    expect(cutter.push(']')).toEqual([{ key: 'state', text: '3' }])
    expect(cutter.push('}')).toEqual([])
    cutter.end()
  })

  it('knows an array without elements from one that is not there', () => {
    const cutter = partsOf({ elements: ['state', 'auth_chain'] })
    expect(cutter.push('{"state":[],"other":[]}')).toEqual([])
    expect(['state', 'auth_chain', 'other'].map((key) => cutter.has(key))).toEqual([true, false, false])
  })

  it('refuses a text that ends early', () => {
    expect(outcome(() => cutInPieces('{"state":[{"a":1}]', [3], { elements: ['state'] }))).toBe('syntax')
  })

  it('refuses a wanted array that is none, and one that comes twice', () => {
    expect(outcome(() => cutInPieces('{"state":{"a":1}}', [2], { elements: ['state'] }))).toBe('wrong-type')
    expect(outcome(() => cutInPieces('{"state":[],"state":[]}', [2], { elements: ['state'] }))).toBe('duplicate-key')
    expect(outcome(() => cutInPieces('[{}]', [2], { elements: ['state'] }))).toBe('wrong-type')
  })

  it('refuses a part that is longer than allowed before it is complete', () => {
    const cutter = partsOf({ elements: ['state'] }, 1000)
    cutter.push('{"state":["')
    expect(outcome(() => Array.from({ length: 11 }, () => cutter.push('x'.repeat(100))))).toBe('too-large')
  })

  it('holds nothing of what is not wanted', () => {
    const cutter = partsOf({ elements: ['state'] }, 1000)
    cutter.push('{"other":["')
    for (let count = 0; count < 100; count++) expect(cutter.push('x'.repeat(100))).toEqual([])
    expect(cutter.push('"],"state":[1]}')).toEqual([{ key: 'state', text: '1' }])
  })
})
