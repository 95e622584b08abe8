/**
 * From states to the state they resolve to. The conflicted sets are differences of tries, so that what is resolved costs what
 * differs and not what the room holds; equal states are told by their identity and resolve to themselves.
 *
 * `resolve` is synchronous, as all work on rooms: it answers from what was resolved before, or throws `Missing`, whose load
 * resolves and remembers. What is remembered is a difference between states known by their identities: it stays right
 * whatever becomes of the segments they are in.
 */
import { LRUCache } from 'lru-cache'
import type { StateReference } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { identityOf, type StateChange } from '../../protocol/state-trie.js'
import { Missing } from '../../store/missing.js'
import type { StateView } from '../../store/state-view.js'
import type { Stores } from '../../store/stores.js'
import { EarlierWalks } from './earlier-walks.js'
import { Budget, defaultLimits, withEffort, type ResolutionLimits } from './limits.js'
import { Resolution } from './resolution.js'
import { ResolutionWorker } from './worker.js'

export interface Resolved {
  /** One of the states. */
  readonly base: StateReference
  /** What makes it the resolved state. */
  readonly changes: readonly StateChange[]
}

interface Remembered {
  readonly baseIdentity: string
  readonly changes: readonly StateChange[]
}

const none: readonly StateChange[] = []

export class Resolutions {
  private readonly remembered: LRUCache<string, Remembered>
  /** Of each room the last that is larger than what is remembered may be. */
  private readonly large = new WeakMap<StateView, { readonly key: string; readonly result: Remembered }>()
  private readonly earlier: EarlierWalks
  /** How often `forget` was called. */
  private readonly forgotten = new WeakMap<StateView, number>()
  private readonly worker = new ResolutionWorker()

  constructor(
    private readonly stores: Stores,
    private readonly limits: ResolutionLimits = defaultLimits,
    private readonly now: () => number = () => performance.now(),
  ) {
    const bytes = Math.ceil(stores.memory.resolutionBytes / 2)
    this.earlier = new EarlierWalks(bytes)
    this.remembered = new LRUCache({
      maxSize: bytes,
      sizeCalculation: ({ changes }, key) => changes.length * 50 + key.length + 200,
    })
  }

  /**
   * `effort`: how many times the limits it may cost.
   * @throws Missing, whose load rejects with ResolutionTooCostly at the limits.
   */
  resolve(view: StateView, rules: RoomVersionRules, states: readonly StateReference[], effort = 1): Resolved {
    const byIdentity = new Map(states.map((state) => [view.run(identityOf(view.segments, state)), state]))
    const [first] = states
    if (byIdentity.size < 2) return { base: first!, changes: none }
    const key = `${view.room}:${[...byIdentity.keys()].sort().join('')}`
    const known = this.remembered.get(key) ?? this.largeOne(view, key)
    if (known !== undefined) return { base: byIdentity.get(known.baseIdentity)!, changes: known.changes }
    throw new Missing(async () => {
      const changes = await this.compute(view, rules, [...byIdentity.values()], effort)
      if (changes === undefined) return
      const result = { baseIdentity: [...byIdentity.keys()][0]!, changes }
      this.remembered.set(key, result)
      if (!this.remembered.has(key)) this.large.set(view, { key, result })
    })
  }

  private largeOne(view: StateView, key: string): Remembered | undefined {
    const large = this.large.get(view)
    return large?.key === key ? large.result : undefined
  }

  /** undefined: meanwhile the states may have become others. */
  private async compute(
    view: StateView,
    rules: RoomVersionRules,
    states: readonly StateReference[],
    effort: number,
  ): Promise<readonly StateChange[] | undefined> {
    const forgotten = this.forgotten.get(view)
    const budget = new Budget(withEffort(this.limits, effort), this.now)
    try {
      const changes = await new Resolution(this.stores, view, rules, budget, this.worker, this.earlier).of(states)
      return this.forgotten.get(view) === forgotten ? changes : undefined
    } finally {
      if (this.forgotten.get(view) !== forgotten) this.earlier.forget(view.room)
    }
  }

  /** States that were made in the view and not written are gone, and others get their references. */
  forget(view: StateView): void {
    this.forgotten.set(view, (this.forgotten.get(view) ?? 0) + 1)
    this.earlier.forget(view.room)
  }

  async close(): Promise<void> {
    await this.worker.close()
  }
}
