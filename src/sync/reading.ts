import type { Requester } from '../accounts/requester.js'
import { selectFields, type EventFields, type Filter } from '../protocol/filter.js'
import type { JsonObject } from '../protocol/json.js'
import type { Position } from '../protocol/numbers.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import type { Gate, VisibleEvent } from '../room/gate.js'
import type { Rooms } from '../room/rooms.js'
import { clientEvent } from '../room/client-event.js'
import { serialise } from '../room/serialise.js'
import type { RoomName } from '../store/room-names.js'
import type { StateKeyKinds } from '../store/state-key-kinds.js'
import type { Stores } from '../store/stores.js'
import type { UserView } from './user-view.js'

export type KnownRoom = RoomName & { readonly rules: RoomVersionRules }

/** What is the same for all parts of one answer. */
export interface Reading {
  readonly stores: Stores
  readonly rooms: Rooms
  readonly gate: Gate
  readonly keyKinds: StateKeyKinds
  readonly requester: Requester
  readonly view: UserView
  readonly filter: Filter
  readonly since: Position | undefined
  /** The position the answer speaks of. */
  readonly now: Position
  readonly fullState: boolean
  /**
   * Keys under which the client looks for the state at the end of the timeline: the parameter that asks for it, and its
   * answer, had another name before they were in the specification. Empty: `state` is wanted.
   */
  readonly stateAfter: readonly ('state_after' | 'org.matrix.msc4222.state_after')[]
}

/** Events of a timeline as text, in their order. */
export async function timelineTexts(
  reading: Reading,
  name: KnownRoom,
  events: readonly VisibleEvent[],
): Promise<string[]> {
  const { filter } = reading
  if (filter.eventFormat === 'federation') return events.map((event) => selected(event.text, filter.eventFields))
  const texts = await serialise(reading, name, reading.requester, events, { withRoomId: false })
  return filter.eventFields === undefined ? texts : texts.map((text) => selected(text, filter.eventFields))
}

/**
 * Events of a state as text. What they replaced is not said: it would double the cost of showing a room. Only what was
 * redacted needs more than the event.
 */
export async function stateTexts(
  reading: Reading,
  name: KnownRoom,
  events: readonly VisibleEvent[],
): Promise<string[]> {
  const { filter, rooms, requester } = reading
  if (filter.eventFormat !== 'federation' && events.some(({ redactedBy }) => redactedBy !== undefined)) {
    const texts = await serialise(reading, name, requester, events, { withRoomId: false, asState: true })
    return texts.map((text) => selected(text, filter.eventFields))
  }
  const options = { now: rooms.deps.now(), withRoomId: false }
  return events.map((event) =>
    selected(
      filter.eventFormat === 'federation' ? event.text : clientEvent(name.rules, event, {}, options),
      filter.eventFields,
    ),
  )
}

/** Of a text that was stored as clients get it. */
export const unheldTexts = ({ filter }: Reading, text = '[]'): string[] =>
  (JSON.parse(text) as readonly JsonObject[]).map((event) => selected(JSON.stringify(event), filter.eventFields))

/** The slow path of the few clients that want parts of events. */
const selected = (text: string, fields: EventFields | undefined): string =>
  fields === undefined ? text : JSON.stringify(selectFields(JSON.parse(text) as JsonObject, fields))

export const eventsText = (texts: readonly string[]): string => `{"events":[${texts.join(',')}]}`
