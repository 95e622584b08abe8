/**
 * What the walk up from the candidates of the auth difference found the last time in a room, for the next time. Where two
 * branches arrive event by event, each state event makes another resolution of nearly the same states.
 *
 * Let U be the unconflicted entries then and U' those now. A candidate that nothing in U reached is reached by nothing in U'
 * if U' ⊆ U, since auth events do not change. That holds when everything that differed then differs now, and a state then
 * and a state now are the same but for keys that differ now.
 */
import { LRUCache } from 'lru-cache'
import type { EventNumber, RoomNumber, StateKeyNumber, StateReference } from '../../protocol/numbers.js'
import { difference } from '../../protocol/state-trie.js'
import { Missing } from '../../store/missing.js'
import type { StateView } from '../../store/state-view.js'
import type { Conflicts } from './conflicts.js'

interface Walk {
  /** One of the states. */
  readonly state: StateReference
  readonly differing: readonly StateKeyNumber[]
  readonly unreached: ReadonlySet<EventNumber>
}

const none: ReadonlySet<EventNumber> = new Set()

export class EarlierWalks {
  private readonly walks: LRUCache<RoomNumber, Walk>

  constructor(bytes: number) {
    const sizeCalculation = ({ differing, unreached }: Walk) => differing.length * 8 + unreached.size * 40 + 200
    this.walks = new LRUCache({ maxSize: bytes, sizeCalculation })
  }

  /** Candidates that are known to be reached by no unconflicted entry; `state` is one of the states. */
  unreachedIn(view: StateView, state: StateReference, differing: Conflicts): ReadonlySet<EventNumber> {
    const walk = this.walks.get(view.room)
    if (walk === undefined || !walk.differing.every((key) => differing.has(key))) return none
    return isSameBut(view, walk.state, state, differing) ? walk.unreached : none
  }

  remember(
    { room }: StateView,
    state: StateReference,
    differing: Conflicts,
    unreached: ReadonlySet<EventNumber>,
  ): void {
    this.walks.set(room, { state, differing: [...differing.keys()], unreached })
  }

  /** States that were made in this room may be gone. */
  forget(room: RoomNumber): void {
    this.walks.delete(room)
  }
}

/** False, too, when it cannot be told from what is at hand: the walk is quicker than to load that. */
function isSameBut(view: StateView, then: StateReference, now: StateReference, differing: Conflicts): boolean {
  try {
    return view.run(difference(view.segments, then, now)).every(({ key }) => differing.has(key))
  } catch (cause) {
    if (cause instanceof Missing) return false
    throw cause
  }
}
