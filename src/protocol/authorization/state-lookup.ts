import type { RoomEvent } from '../room-event.js'

/** The state an event is judged against: the event at a type and state key, or undefined when the state has none there. */
export type StateLookup = (type: string, stateKey: string) => RoomEvent | undefined
