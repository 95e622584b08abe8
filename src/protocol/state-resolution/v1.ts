/** The algorithm of room version 1. https://spec.matrix.org/v1.19/rooms/v1/#state-resolution */
import { hash } from 'node:crypto'
import { authorize } from '../authorization/index.js'
import type { EventNumber } from '../numbers.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import type { Counted } from './counted.js'
import {
  stateMapKey,
  stateMapKeyOf,
  type ConflictedSets,
  type Events,
  type ResolutionEvent,
  type ResolvedState,
} from './sets.js'

interface Candidate extends ResolutionEvent {
  readonly sha1: string
}

export function resolveV1(
  rules: RoomVersionRules,
  sets: ConflictedSets,
  { event, spendChecks }: Counted,
): ResolvedState {
  // Start by setting R to the union of the states to be resolved, excluding any conflicting events.
  const resolved = new Map<string, EventNumber>()
  const conflicts = conflictsByKey(sets.conflicted, event)
  const allowed = (candidate: ResolutionEvent, ...instead: [key: string, event: RoomEvent][]) => {
    const lookUp = (type: string, stateKey: string): RoomEvent | undefined => {
      const key = stateMapKey(type, stateKey)
      const replaced = instead.find(([other]) => other === key)
      if (replaced !== undefined) return replaced[1]
      const number = resolved.get(key) ?? sets.unconflicted(type, stateKey)
      return number === undefined ? undefined : event(number).event
    }
    return authorize(rules, candidate.event, lookUp, undefined, spendChecks).allowed
  }

  // First we resolve conflicts between m.room.power_levels events. … Repeat the above process for conflicts between
  // m.room.join_rules events. Repeat the above process for conflicts between m.room.member events.
  for (const isOfPass of passes) {
    const found: [key: string, number: EventNumber][] = []
    for (const [key, candidates] of conflicts) {
      if (isOfPass(candidates[0]!.event)) found.push([key, lastAllowed(key, candidates, allowed)])
    }
    // Each conflict is resolved by what the types before it came to, not by those beside it: their order means nothing.
    for (const [key, number] of found) resolved.set(key, number)
  }

  // No other events affect the authorisation rules, so for all other conflicts, just pick the event with the highest depth
  // and lowest sha1(event_id) that passes authentication in R and add it to R.
  const others: [key: string, number: EventNumber][] = []
  for (const [key, candidates] of conflicts) {
    if (resolved.has(key)) continue
    const best = candidates.toReversed()
    // The specification does not say what is if none passes; other servers take the last that was tried.
    others.push([key, (best.find((candidate) => allowed(candidate)) ?? best.at(-1)!).number])
  }
  for (const [key, number] of others) resolved.set(key, number)
  return resolved
}

/** Levels with another state key are none, and like any other event to servers that are known. */
const passes: readonly ((event: RoomEvent) => boolean)[] = [
  ({ type, stateKey }) => type === 'm.room.power_levels' && stateKey === '',
  ({ type }) => type === 'm.room.join_rules',
  ({ type }) => type === 'm.room.member',
]

/**
 * Sort the list by ascending depth then descending sha1(event_id). Add the first event in the list to R. For each subsequent
 * event in the list, check that the event would be allowed by the authorisation rules for a room in state R. If the event
 * would be allowed, then update R with the event and continue with the next event in the list. If it would not be allowed,
 * stop.
 */
function lastAllowed(
  key: string,
  candidates: readonly Candidate[],
  allowed: (candidate: ResolutionEvent, instead: [key: string, event: RoomEvent]) => boolean,
): EventNumber {
  let last = candidates[0]!
  for (const candidate of candidates.slice(1)) {
    if (!allowed(candidate, [key, last.event])) break
    last = candidate
  }
  return last.number
}

/** By ascending depth then descending sha1(event_id). */
function conflictsByKey(conflicted: readonly EventNumber[], event: Events): Map<string, Candidate[]> {
  const conflicts = new Map<string, Candidate[]>()
  for (const number of new Set(conflicted)) {
    const candidate = { ...event(number), sha1: hash('sha1', event(number).event.eventId, 'hex') }
    const key = stateMapKeyOf(candidate)
    const others = conflicts.get(key)
    if (others === undefined) conflicts.set(key, [candidate])
    else others.push(candidate)
  }
  for (const candidates of conflicts.values()) {
    candidates.sort((a, b) => a.event.depth - b.event.depth || (a.sha1 < b.sha1 ? 1 : -1))
  }
  return conflicts
}
