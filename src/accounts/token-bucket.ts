import { LRUCache } from 'lru-cache'

/** A bucket holds up to `burst` tokens and gains `perSecond` of them; an attempt takes one. */
export interface Rate {
  readonly burst: number
  readonly perSecond: number
}

interface Bucket {
  tokens: number
  at: number
}

/**
 * Token buckets by key, of one rate. A key that was not seen for the time a bucket takes to fill is as good as forgotten,
 * so the least recently used ones are dropped at `maxKeys`: whoever has so many addresses has new ones anyway.
 * Each process counts for itself.
 */
export class TokenBuckets {
  readonly #rate: Rate
  readonly #buckets: LRUCache<string, Bucket>
  readonly #now: () => number

  constructor(rate: Rate, maxKeys = 10_000, now: () => number = () => performance.now()) {
    this.#rate = rate
    this.#buckets = new LRUCache({ max: maxKeys })
    this.#now = now
  }

  /** Takes a token. Answers 0, or, when there is none, the milliseconds until there will be one. */
  take(key: string): number {
    const bucket = this.#filled(key)
    if (bucket.tokens < 1) return Math.max(1, Math.ceil(((1 - bucket.tokens) / this.#rate.perSecond) * 1000))
    bucket.tokens -= 1
    return 0
  }

  /** Puts a token back: what it was taken for turned out not to count. */
  giveBack(key: string): void {
    const bucket = this.#filled(key)
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + 1)
  }

  #filled(key: string): Bucket {
    const now = this.#now()
    const bucket = this.#buckets.get(key) ?? { tokens: this.#rate.burst, at: now }
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + ((now - bucket.at) / 1000) * this.#rate.perSecond)
    bucket.at = now
    this.#buckets.set(key, bucket)
    return bucket
  }
}
