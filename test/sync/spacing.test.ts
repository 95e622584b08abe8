import { describe, expect, it } from '@jest/globals'
import { spacingAt } from '../../src/sync/spacing.js'

describe('the spacing of answers', () => {
  it('is short while there is time for more', () => {
    expect(spacingAt(0)).toBe(25)
    expect(spacingAt(0.5)).toBe(25)
  })

  it('is a quarter of a second for who has no time left', () => {
    expect(spacingAt(0.8)).toBeCloseTo(250)
    expect(spacingAt(1)).toBeCloseTo(250)
  })

  it('never becomes shorter by more to do', () => {
    const spacings = Array.from({ length: 101 }, (_, percent) => spacingAt(percent / 100))
    expect(spacings.toSorted((a, b) => a - b)).toEqual(spacings)
  })
})
