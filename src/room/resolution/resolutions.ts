/**
 * From states to the state they resolve to. The conflicted sets are differences of tries, so that what is resolved costs what
 * differs and not what the room holds; equal states are told by their identity and resolve to themselves.
 *
 * `resolve` is synchronous, as all work on rooms: it answers from what was resolved before, or throws `Missing`, whose load
 * resolves and remembers. What is remembered is a difference between states known by their identities: it stays right
 * whatever becomes of the segments they are in.
 */
import { LRUCache } from 'lru-cache'
import type { EventNumber, StateKeyNumber, StateReference } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { identityOf, type StateChange } from '../../protocol/state-trie.js'
import { Missing } from '../../store/missing.js'
import type { StateView } from '../../store/state-view.js'
import type { Stores } from '../../store/stores.js'
import { Budget, defaultLimits, type ResolutionLimits } from './limits.js'
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
  private readonly worker = new ResolutionWorker()

  constructor(
    private readonly stores: Stores,
    private readonly limits: ResolutionLimits = defaultLimits,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.remembered = new LRUCache({
      maxSize: stores.memory.resolutionBytes,
      sizeCalculation: ({ changes }, key) => changes.length * 50 + key.length + 200,
    })
  }

  /** @throws Missing, whose load rejects with ResolutionTooCostly at the limits. */
  resolve(view: StateView, rules: RoomVersionRules, states: readonly StateReference[]): Resolved {
    const byIdentity = new Map(states.map((state) => [view.run(identityOf(view.segments, state)), state]))
    const [first] = states
    if (byIdentity.size < 2) return { base: first!, changes: none }
    const key = `${view.room}:${[...byIdentity.keys()].sort().join('')}`
    const known = this.remembered.get(key)
    if (known !== undefined) return { base: byIdentity.get(known.baseIdentity)!, changes: known.changes }
    throw new Missing(async () => {
      const changes = await this.compute(view, rules, [...byIdentity.values()])
      this.remembered.set(key, { baseIdentity: [...byIdentity.keys()][0]!, changes })
      if (!this.remembered.has(key)) throw new Error('a resolution is larger than the memory for resolutions')
    })
  }

  private compute(
    view: StateView,
    rules: RoomVersionRules,
    states: readonly StateReference[],
  ): Promise<[StateKeyNumber, EventNumber | undefined][]> {
    const budget = new Budget(this.limits, this.now)
    return new Resolution(this.stores, view, rules, budget, this.worker).of(states)
  }

  async close(): Promise<void> {
    await this.worker.close()
  }
}
