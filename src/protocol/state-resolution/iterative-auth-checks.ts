import { authorize, type SpendChecks } from '../authorization/index.js'
import type { EventNumber } from '../numbers.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { stateMapKey, stateMapKeyOf, type Events, type ResolutionEvent } from './sets.js'

export interface Checking {
  readonly rules: RoomVersionRules
  readonly event: Events
  readonly spendChecks: SpendChecks
  /** Since v12: the create event the room id names. Before, it is looked up in the state as any other. */
  readonly createOfRoom: RoomEvent | undefined
  /** The state the checks start from, beside what is resolved. */
  readonly initial: (type: string, stateKey: string) => EventNumber | undefined
}

/**
 * "The iterative auth checks algorithm takes as input an initial room state and a sorted list of state events, and
 * constructs a new room state by iterating through the event list and applying the state event to the room state if the
 * state event is allowed by the authorisation rules. If the state event is not allowed by the authorisation rules, then the
 * event is ignored."
 */
export function iterativeAuthChecks(
  { rules, event, spendChecks, createOfRoom, initial }: Checking,
  resolved: ReadonlyMap<string, EventNumber>,
  events: readonly EventNumber[],
): Map<string, EventNumber> {
  const state = new Map(resolved)
  for (const number of events) {
    const candidate = event(number)
    const lookUp = (type: string, stateKey: string): RoomEvent | undefined => {
      const found = state.get(stateMapKey(type, stateKey)) ?? initial(type, stateKey)
      // If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the
      // state, then the appropriate state event from the event's auth_events is used if the auth event is not rejected.
      return found === undefined ? fromAuthEvents(candidate, type, stateKey, event) : event(found).event
    }
    if (authorize(rules, candidate.event, lookUp, createOfRoom, spendChecks).allowed)
      state.set(stateMapKeyOf(candidate), number)
  }
  return state
}

function fromAuthEvents(
  { authEvents }: ResolutionEvent,
  type: string,
  stateKey: string,
  event: Events,
): RoomEvent | undefined {
  for (const number of authEvents) {
    const { event: authEvent, rejected } = event(number)
    if (!rejected && authEvent.type === type && authEvent.stateKey === stateKey) return authEvent
  }
  return undefined
}
