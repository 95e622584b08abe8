/**
 * State resolution: which state follows from several. https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
 *
 * `resolveState` is given what the definitions of the specification are computed from (src/room/resolution): the
 * unconflicted state map as a function, the conflicted state set, the auth difference of the full auth chains of whole
 * states, and since version 12 the conflicted state subgraph. What it will ask of the unconflicted state is known before
 * (`keysAskedFor`), so that a room of 50,000 members is never loaded to resolve ten keys.
 *
 * It says nothing of keys that are unconflicted: those keep their event.
 */
import { authEventKeys } from '../authorization/index.js'
import type { RoomVersionRules } from '../room-versions.js'
import { counted } from './counted.js'
import { stateMapKey, type ConflictedSets, type Events, type ResolvedState } from './sets.js'
import { resolveV1 } from './v1.js'
import { resolveV2 } from './v2.js'

export { TooManySteps } from './counted.js'
export { stateMapKey, type ConflictedSets, type Events, type ResolutionEvent, type ResolvedState } from './sets.js'

/**
 * The resolved state at every key that is not unconflicted; a key that is absent has no event.
 *
 * `event` answers for every event of the sets, for those the unconflicted state map names when asked for `keysAskedFor`,
 * for the auth events of all of them, and for the power levels events on which those stand with their auth events.
 *
 * @throws TooManySteps when it takes more than `steps`, each about a microsecond.
 */
export function resolveState(
  rules: RoomVersionRules,
  sets: ConflictedSets,
  event: Events,
  steps = Infinity,
): ResolvedState {
  const work = counted(event, steps)
  return rules.stateResolution === 'v1' ? resolveV1(rules, sets, work) : resolveV2(rules, sets, work)
}

/** The keys of the unconflicted state map at which resolving these events looks: their own, and those that authorise them. */
export function keysAskedFor(
  rules: RoomVersionRules,
  events: Iterable<Parameters<typeof authEventKeys>[1]>,
): (readonly [type: string, stateKey: string])[] {
  const keys = new Map<string, readonly [string, string]>()
  const ask = (key: readonly [string, string]) => void keys.set(stateMapKey(...key), key)
  ask(['m.room.create', ''])
  ask(['m.room.power_levels', ''])
  for (const event of events) {
    ask([event.type, event.stateKey ?? ''])
    authEventKeys(rules, event).forEach(ask)
  }
  return [...keys.values()]
}
