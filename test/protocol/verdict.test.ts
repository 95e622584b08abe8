/// <reference lib="es2024.string" />
import { describe, expect, it } from '@jest/globals'
import { reject } from '../../src/protocol/verdict.js'

const reasonOf = (reason: string) => {
  const verdict = reject(reason)
  return verdict.allowed ? undefined : verdict.reason
}

describe('the reason of a rejection', () => {
  it('is kept as it is', () => {
    expect(reasonOf('the sender is below the level required for m.room.näme')).toBe(
      'the sender is below the level required for m.room.näme',
    )
  })

  it('can be stored and logged, whatever a peer put into it', () => {
    expect(reasonOf('a \0type\nof\u2028 \ud800 and 😀')).toBe('a \ufffdtype\ufffdof\ufffd \ufffd and 😀')
  })

  it('is not long', () => {
    const reason = reasonOf('😀'.repeat(30_000))!
    expect(reason.length).toBeLessThanOrEqual(500)
    expect(reason.isWellFormed()).toBe(true)
  })
})
