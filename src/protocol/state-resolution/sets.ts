import type { EventNumber } from '../numbers.js'
import type { RoomEvent } from '../room-event.js'

/** An event as state resolution looks at it. */
export interface ResolutionEvent {
  readonly number: EventNumber
  readonly event: RoomEvent
  readonly authEvents: readonly EventNumber[]
  readonly rejected: boolean
  /** Of its text. */
  readonly characters?: number
}

export type Events = (number: EventNumber) => ResolutionEvent

/** By `stateMapKey`. */
export type ResolvedState = ReadonlyMap<string, EventNumber>

export interface ConflictedSets {
  /** The unconflicted state map. */
  readonly unconflicted: (type: string, stateKey: string) => EventNumber | undefined
  /** The conflicted state set. */
  readonly conflicted: readonly EventNumber[]
  /** Of the full auth chains of whole states, not of the conflicted events alone. Empty for v1. */
  readonly authDifference: ReadonlySet<EventNumber>
  /** Since version 12; empty before. */
  readonly conflictedSubgraph: ReadonlySet<EventNumber>
  /** Since version 12: the create event that the room id names, whichever of the states have it. Not used before. */
  readonly create: EventNumber | undefined
}

/** Types and state keys may hold any code point: without the length two pairs could be one string. */
export const stateMapKey = (type: string, stateKey: string): string => `${type.length}:${type}${stateKey}`

export const stateMapKeyOf = ({ event: { type, stateKey } }: ResolutionEvent): string =>
  stateMapKey(type, stateKey ?? '')
