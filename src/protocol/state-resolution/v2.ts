/** The algorithm of room versions 2 to 11 (v2) and of version 12 (v2.1). */
import type { EventNumber } from '../numbers.js'
import type { RoomVersionRules } from '../room-versions.js'
import type { Counted } from './counted.js'
import { iterativeAuthChecks } from './iterative-auth-checks.js'
import { mainlineOrdering } from './mainline-ordering.js'
import { isPowerEvent, reverseTopologicalPowerOrdering } from './power-ordering.js'
import { stateMapKey, type ConflictedSets, type Events, type ResolvedState } from './sets.js'

export function resolveV2(
  rules: RoomVersionRules,
  sets: ConflictedSets,
  { event, spendChecks }: Counted,
): ResolvedState {
  // The full conflicted set is the union of the conflicted state set and the auth difference.
  // Since v12: … and the conflicted state subgraph.
  const fullConflictedSet = new Set<EventNumber>([
    ...sets.conflicted,
    ...sets.authDifference,
    ...sets.conflictedSubgraph,
  ])
  const checking = {
    rules,
    event,
    spendChecks,
    createOfRoom: rules.roomIdIsCreateHash && sets.create !== undefined ? event(sets.create).event : undefined,
    // v2–v11: starting from the unconflicted state map. Since v12: starting from an empty state map.
    initial: rules.stateResolution === 'v2' ? sets.unconflicted : () => undefined,
  }

  // 1. Select the set X of all power events that appear in the full conflicted set. For each such power event P, enlarge X
  //    by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X into a list using
  //    the reverse topological power ordering.
  const x = withAuthChains(
    [...fullConflictedSet].filter((number) => isPowerEvent(event(number).event)),
    fullConflictedSet,
    event,
  )
  const powerEvents = reverseTopologicalPowerOrdering(rules, checking.createOfRoom, x, event)

  // 2. Apply the iterative auth checks algorithm to the list of events from the previous step to get a partially resolved
  //    state.
  const partial = iterativeAuthChecks(checking, new Map(), powerEvents)

  // 3. Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the power
  //    level in the partially resolved state obtained in step 2.
  const remaining = [...fullConflictedSet].filter((number) => !x.has(number))
  const powerLevels = partial.get(stateMapKey('m.room.power_levels', '')) ?? checking.initial('m.room.power_levels', '')
  const ordered = mainlineOrdering(powerLevels, remaining, event)

  // 4. Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the previous
  //    step.
  const resolved = iterativeAuthChecks(checking, partial, ordered)

  // 5. Update the result by replacing any event with the event with the same key from the unconflicted state map, if such
  //    an event exists, to get the final resolved state.
  for (const [key, number] of resolved) {
    const { type, stateKey } = event(number).event
    if (sets.unconflicted(type, stateKey ?? '') !== undefined) resolved.delete(key)
  }
  return resolved
}

/**
 * The walk goes through events of the full conflicted set only, as in every server that is known. By the letter an event
 * that is reached through others would belong to it too; in version 12 the conflicted state subgraph has those.
 */
function withAuthChains(
  events: readonly EventNumber[],
  within: ReadonlySet<EventNumber>,
  event: Events,
): ReadonlySet<EventNumber> {
  const found = new Set(events)
  // A set is walked in the order of insertion, what is added on the way included.
  for (const number of found) {
    for (const authEvent of event(number).authEvents) if (within.has(authEvent)) found.add(authEvent)
  }
  return found
}
