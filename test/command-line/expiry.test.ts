import { describe, expect, it } from '@jest/globals'
import { parseExpiry } from '../../src/command-line/expiry.js'

const now = Date.parse('2026-11-24T12:00:00Z')

describe('when a token expires', () => {
  it.each([
    ['30m', '2026-11-24T12:30:00Z'],
    ['12h', '2026-11-25T00:00:00Z'],
    ['7d', '2026-12-01T12:00:00Z'],
    ['2027-01-31', '2027-01-31T00:00:00Z'],
    ['2027-01-31T10:00+02:00', '2027-01-31T08:00:00Z'],
  ])('may be said as %s', (text, when) => {
    expect(parseExpiry(text, now)).toBe(Date.parse(when))
  })

  it.each(['', '7', '0d', '-1d', '7 years', '2025-01-01', '2027-13-01', 'tomorrow'])(
    'may not be said as "%s"',
    (text) => {
      expect(parseExpiry(text, now)).toBeUndefined()
    },
  )
})
