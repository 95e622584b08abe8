import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { decodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { MatrixError } from '../../src/protocol/matrix-error.js'
import { signingKeyFromSeed, verify } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import {
  formatAuthorization,
  parseAuthorization,
  requestText,
  signRequest,
  type Credentials,
} from '../../src/protocol/x-matrix.js'
import { processorTime } from '../support/processor-time.js'

const credentials: Credentials = {
  origin: 'origin.example',
  destination: 'here.example',
  keyId: 'ed25519:a_1',
  signature: 'AB+/',
}

const serverName = fc.oneof(
  fc.stringMatching(/^[0-9A-Za-z.-]{1,50}$/),
  fc.stringMatching(/^[0-9A-Za-z.-]{1,50}:[0-9]{1,5}$/),
  fc.constantFrom('[::1]', '[2001:db8::1]:8448'),
)
const anyText = fc.string({ unit: 'grapheme' })

describe('the header', () => {
  it('is read as it was written, whatever stands in it', () => {
    fc.assert(
      fc.property(
        fc.record({
          origin: serverName,
          destination: fc.option(anyText, { nil: undefined }),
          keyId: fc.stringMatching(/^ed25519:[A-Za-z0-9_]{1,20}$/),
          signature: anyText,
        }),
        (written) => expect(parseAuthorization(formatAuthorization(written))).toEqual(written),
      ),
    )
  })

  it('is written as older servers read it', () => {
    expect(formatAuthorization(credentials)).toBe(
      'X-Matrix origin="origin.example",destination="here.example",key="ed25519:a_1",sig="AB+/"',
    )
  })

  it('is read the same with blanks at the commas, other letters, escapes, unknown parameters and in any order', () => {
    const blanks = fc.stringMatching(/^[ \t]{0,2}$/)
    const capitals = (text: string) =>
      fc
        .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
        .map((upper) => [...text].map((letter, at) => (upper[at] ? letter.toUpperCase() : letter)).join(''))
    const value = (text: string) =>
      fc
        .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
        .map((escape) => `"${[...text].map((letter, at) => (escape[at] ? `\\${letter}` : letter)).join('')}"`)
    const pair = (name: string, text: string) => fc.tuple(capitals(name), value(text)).map((both) => both.join('='))
    const header = fc
      .tuple(
        capitals('x-matrix'),
        fc
          .tuple(
            pair('origin', credentials.origin),
            pair('destination', credentials.destination!),
            pair('key', credentials.keyId),
            pair('sig', credentials.signature),
            pair('later', 'unknown, ="'.replace('"', "'")),
          )
          .chain((pairs) => fc.shuffledSubarray(pairs, { minLength: 5 })),
        fc.tuple(blanks, blanks).map(([before, after]) => `${before},${after}`),
      )
      .map(([scheme, pairs, comma]) => `${scheme} ${pairs.join(comma)}`)
    fc.assert(fc.property(header, (text) => expect(parseAuthorization(text)).toEqual(credentials)))
  })

  it.each<[string, string, Partial<Credentials>]>([
    ['colons without quotes', 'X-Matrix origin=a.example:8448,key=ed25519:1,sig=AB', { origin: 'a.example:8448' }],
    ['no destination', 'X-Matrix origin=a,key=ed25519:1,sig="AB"', { destination: undefined }],
    ['several blanks after the scheme', 'x-matrix   origin=a,key=ed25519:1,sig="AB"', { origin: 'a' }],
    ['empty elements', 'X-Matrix ,origin=a, ,key=ed25519:1,,sig="AB",', { signature: 'AB' }],
    ['blanks around the equals sign', 'X-Matrix origin = a,key\t=\t"ed25519:1",sig="AB"', { origin: 'a' }],
    ['an IPv6 address', 'X-Matrix origin="[::1]:1",key=ed25519:1,sig="AB"', { origin: '[::1]:1' }],
    ['a comma in quotes', 'X-Matrix origin=a,x="b,origin=c",key=ed25519:1,sig="AB"', { origin: 'a' }],
    ['a quote that is escaped', 'X-Matrix x="\\",origin=c",origin=a,key=ed25519:1,sig="AB"', { origin: 'a' }],
  ])('may have %s', (_what, header, expected) => {
    expect(parseAuthorization(header)).toMatchObject(expected)
  })

  it.each<[string, string]>([
    ['nothing', ''],
    ['another scheme', 'Bearer abc'],
    ['a scheme that begins the same', 'X-Matrixy origin=a,key=ed25519:1,sig="AB"'],
    ['the scheme alone', 'X-Matrix'],
    ['a blank before the scheme', ' X-Matrix origin=a,key=ed25519:1,sig="AB"'],
    ['no origin', 'X-Matrix key=ed25519:1,sig="AB"'],
    ['no key', 'X-Matrix origin=a,sig="AB"'],
    ['no signature', 'X-Matrix origin=a,key=ed25519:1'],
    ['an origin that is no server name', 'X-Matrix origin="a/b",key=ed25519:1,sig="AB"'],
    ['an empty origin', 'X-Matrix origin="",key=ed25519:1,sig="AB"'],
    ['a key of another algorithm', 'X-Matrix origin=a,key="rsa:1",sig="AB"'],
    ['a key without a version', 'X-Matrix origin=a,key="ed25519:",sig="AB"'],
    ['the origin twice', 'X-Matrix origin=a,origin=b,key=ed25519:1,sig="AB"'],
    ['the same origin twice', 'X-Matrix origin=a,ORIGIN=a,key=ed25519:1,sig="AB"'],
    ['an unknown parameter twice', 'X-Matrix origin=a,x=1,x=2,key=ed25519:1,sig="AB"'],
    [
      'a second credential',
      'X-Matrix origin=a,key=ed25519:1,sig="AB", X-Matrix origin=b,destination=c,key=ed25519:1,sig="AB"',
    ],
    ['a credential of another scheme after it', 'X-Matrix origin=a,key=ed25519:1,sig="AB", Bearer abc'],
    ['pairs without a comma', 'X-Matrix origin=a key=ed25519:1 sig="AB"'],
    ['an open quote', 'X-Matrix origin=a,key=ed25519:1,sig="AB'],
    ['an escape at the end', 'X-Matrix origin=a,key=ed25519:1,sig="AB\\'],
    ['text after a quoted value', 'X-Matrix origin=a,key=ed25519:1,sig="AB"CD'],
    ['a value of nothing', 'X-Matrix origin=,key=ed25519:1,sig="AB"'],
    ['a bracket without quotes', 'X-Matrix origin=[::1],key=ed25519:1,sig="AB"'],
    ['a semicolon for a comma', 'X-Matrix origin=a;key=ed25519:1;sig="AB"'],
    ['a line break', 'X-Matrix origin=a,\nkey=ed25519:1,sig="AB"'],
  ])('may not have %s', (_what, header) => {
    expect(() => parseAuthorization(header)).toThrow(
      expect.objectContaining({ name: 'MatrixError', status: 401, errcode: 'M_UNAUTHORIZED' }),
    )
  })

  it('is refused or read, and fast, whatever it is', () => {
    const pieces = fc.constantFrom(
      'X-Matrix ',
      'origin',
      '=',
      '"',
      '\\',
      ',',
      ' ',
      '\t',
      'a:1',
      'key',
      'sig',
      'é',
      '\0',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        try {
          parseAuthorization(`X-Matrix ${parts.join('')}`)
        } catch (error) {
          expect(error).toBeInstanceOf(MatrixError)
        }
      }),
    )
    const begun = processorTime()
    for (const piece of [' ', '\t ', ',', ', ', '\\\\', 'a=', 'a="",', '=']) {
      expect(() => parseAuthorization(`X-Matrix x="${piece.repeat(16_000)}`)).toThrow(MatrixError)
      expect(() => parseAuthorization(`X-Matrix x${piece.repeat(16_000)}!`)).toThrow(MatrixError)
    }
    expect(processorTime() - begun).toBeLessThan(1000)
  })
})

describe('the signature', () => {
  const key = signingKeyFromSeed('1', new Uint8Array(32).fill(7))
  const request = { method: 'PUT', uri: '/a%20b?c=d', origin: 'a.example', destination: 'b.example' }

  it('covers method, URI, both names and the content, in canonical order', () => {
    expect(requestText({ ...request, content: { b: 1, a: [null] } })).toBe(
      '{"content":{"a":[null],"b":1},"destination":"b.example","method":"PUT","origin":"a.example","uri":"/a%20b?c=d"}',
    )
  })

  it('covers no content where there is none', () => {
    expect(requestText(request)).not.toContain('content')
    expect(requestText({ ...request, content: {} })).toContain('"content":{}')
  })

  it('covers numbers as they were written', () => {
    const content = parseExactJson('{"depth":1.0,"big":12345678901234567890}') as JsonObject
    expect(requestText({ ...request, content })).toContain('{"big":12345678901234567890,"depth":1.0}')
  })

  it('is the one in the header', () => {
    const { signature, ...rest } = parseAuthorization(signRequest(request, key))
    expect(rest).toEqual({ origin: 'a.example', destination: 'b.example', keyId: 'ed25519:1' })
    expect(verify(key.publicKey, Buffer.from(requestText(request)), decodeBase64(signature)!)).toBe(true)
  })
})
