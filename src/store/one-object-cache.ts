import { LRUCache } from 'lru-cache'

export interface OneObjectCacheOptions<K, V> {
  readonly max?: number
  readonly maxSize?: number
  readonly sizeCalculation?: (value: V, key: K) => number
}

/**
 * A least-recently-used cache of things of which there must not be two: what was pushed out of it is found again for as
 * long as somebody holds it, and is read anew only when nobody does.
 */
export class OneObjectCache<K extends object | string | number, V extends object> {
  private readonly cache: LRUCache<K, V>
  private readonly pushedOut = new Map<K, WeakRef<V>>()
  private readonly collected = new FinalizationRegistry<K>((key) => {
    if (this.pushedOut.get(key)?.deref() === undefined) this.pushedOut.delete(key)
  })

  constructor(options: OneObjectCacheOptions<K, V>) {
    const dispose = (value: V, key: K, reason: LRUCache.DisposeReason) => {
      if (reason === 'evict') this.pushOut(key, value)
    }
    this.cache = new LRUCache<K, V>({ ...options, dispose } as LRUCache.Options<K, V, unknown>)
  }

  get(key: K): V | undefined {
    const cached = this.cache.get(key)
    if (cached !== undefined || this.pushedOut.size === 0) return cached
    const held = this.pushedOut.get(key)?.deref()
    if (held !== undefined) this.set(key, held)
    return held
  }

  set(key: K, value: V): void {
    if (this.pushedOut.size > 0) this.pushedOut.delete(key)
    this.cache.set(key, value)
    // Larger than the whole cache: it is pushed out at once.
    if (!this.cache.has(key)) this.pushOut(key, value)
  }

  /** Everything is read anew, also what somebody holds. */
  clear(): void {
    this.cache.clear()
    this.pushedOut.clear()
  }

  private pushOut(key: K, value: V): void {
    this.pushedOut.set(key, new WeakRef(value))
    this.collected.register(value, key)
  }
}
