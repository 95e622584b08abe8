/** Where states differ. */
import type { EventNumber, StateKeyNumber, StateReference } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { difference } from '../../protocol/state-trie.js'
import { whenLoaded } from '../../store/missing.js'
import type { StateView } from '../../store/state-view.js'

/** What each of the states has at a key at which not all have the same, in the order of the states. */
export type Conflicts = ReadonlyMap<StateKeyNumber, readonly (EventNumber | undefined)[]>

export async function conflictsOf(view: StateView, states: readonly StateReference[]): Promise<Conflicts> {
  const [base, ...others] = states
  const conflicts = new Map<StateKeyNumber, (EventNumber | undefined)[]>()
  for (const [index, other] of others.entries()) {
    for (const { key, before, after } of await whenLoaded(() => view.run(difference(view.segments, base!, other)))) {
      let values = conflicts.get(key)
      if (values === undefined) conflicts.set(key, (values = states.map(() => before)))
      values[index + 1] = after
    }
  }
  return conflicts
}

/**
 * In version 1, "a conflict occurs between states where those states have different event_ids for the same (event_type,
 * state_key)": a state without the key has no say. Since version 2 a key is unconflicted only if it "is present in every Sᵢ
 * with the same value".
 */
export function isConflict(rules: RoomVersionRules, values: readonly (EventNumber | undefined)[]): boolean {
  return rules.stateResolution !== 'v1' || new Set(values.filter((value) => value !== undefined)).size > 1
}
