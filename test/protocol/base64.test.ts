import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { decodeBase64, encodeBase64, encodeBase64Url } from '../../src/protocol/base64.js'

const ascii = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('latin1')

describe('base64', () => {
  it.each([
    ['', ''],
    ['f', 'Zg'],
    ['fo', 'Zm8'],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg'],
    ['fooba', 'Zm9vYmE'],
    ['foobar', 'Zm9vYmFy'],
  ])('writes %j as %j, as the specification does', (input, expected) => {
    expect(encodeBase64(Buffer.from(input))).toBe(expected)
    expect(ascii(decodeBase64(expected))).toBe(input)
  })

  it('has two alphabets and reads both', () => {
    const bytes = Uint8Array.of(0xfb, 0xff, 0xfe)
    expect(encodeBase64(bytes)).toBe('+//+')
    expect(encodeBase64Url(bytes)).toBe('-__-')
    expect(decodeBase64('+//+')).toEqual(Buffer.from(bytes))
    expect(decodeBase64('-__-')).toEqual(Buffer.from(bytes))
  })

  it('reads back what it wrote, padded or not, from a part of a larger buffer too', () => {
    const run = fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(10), (bytes, start) => {
      const part = bytes.subarray(Math.min(start, bytes.length))
      const expected = Buffer.from(part)
      const padded = expected.toString('base64')
      for (const text of [encodeBase64(part), encodeBase64Url(part), padded])
        expect(decodeBase64(text)).toEqual(expected)
      expect(encodeBase64(part)).toBe(padded.replaceAll('=', ''))
    })
    fc.assert(run, { seed: 7, numRuns: 500 })
  })

  it.each(['A', 'AAAAA', 'Zg=', 'Zg===', '=', '==', 'Z=g=', 'Zm9v=', 'Zm 9v', 'Zm9v\n', 'Zm9*', 'é', 'Zm9vYg=\n'])(
    'finds no bytes in %j',
    (text) => {
      expect(decodeBase64(text)).toBeUndefined()
    },
  )

  it('ignores bits that belong to no byte', () => {
    expect(ascii(decodeBase64('Zh'))).toBe('f')
  })
})
