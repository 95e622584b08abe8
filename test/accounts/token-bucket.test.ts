import { describe, expect, it } from '@jest/globals'
import { TokenBuckets } from '../../src/accounts/token-bucket.js'

describe('token buckets', () => {
  it('let a burst through, then one per period, each key for itself', () => {
    let now = 0
    const buckets = new TokenBuckets({ burst: 2, perSecond: 0.5 }, 100, () => now)
    expect([buckets.take('a'), buckets.take('a'), buckets.take('a')]).toEqual([0, 0, 2000])
    expect(buckets.take('b')).toBe(0)
    now = 1500
    expect(buckets.take('a')).toBe(500)
    now = 2000
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 2000])
  })

  it('take back what did not count', () => {
    const buckets = new TokenBuckets({ burst: 1, perSecond: 1 }, 100, () => 0)
    buckets.take('a')
    buckets.giveBack('a')
    buckets.giveBack('a')
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 1000])
  })
})
