/**
 * Events of one room as their requester gets them: what `unsigned` needs beside the events themselves is loaded for all
 * of them at once. With everything in memory, as for events that were just sent, it runs no statement.
 */
import type { Requester } from '../accounts/requester.js'
import { ownString } from '../protocol/json.js'
import type { EventNumber, StateReference } from '../protocol/numbers.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { loadTransactionIds } from '../store/client-transactions.js'
import { whenLoaded } from '../store/missing.js'
import type { RoomName } from '../store/room-names.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import { clientEvent } from './client-event.js'
import { userReader, type Gate, type VisibleEvent } from './gate.js'
import type { Rooms } from './rooms.js'

export interface SerialiseDeps {
  readonly stores: Stores
  readonly rooms: Rooms
  readonly gate: Gate
}

type Asking = Pick<Requester, 'userId' | 'device'>

export interface SerialiseOptions {
  /** Not where the room is known, as in /sync. */
  readonly withRoomId: boolean
  /** As a part of the room's state and not of its timeline: what it replaced and who was in the room then is left out. */
  readonly asState?: boolean
}

/** JSON texts, in the order of the events; all are of the one room. */
export async function serialise(
  deps: SerialiseDeps,
  name: RoomName & { readonly rules: RoomVersionRules },
  requester: Asking,
  events: readonly VisibleEvent[],
  { withRoomId, asState = false }: SerialiseOptions,
): Promise<string[]> {
  if (events.length === 0) return []
  const { stores, rooms, gate } = deps
  const now = rooms.deps.now()
  const related = await relatedEvents(stores, name, events, asState)
  const [memberships, redactions] = await Promise.all([
    asState ? undefined : membershipsAt(stores, name, requester.userId, events),
    readableRedactions(gate, name, requester.userId, events, related),
    loadSentAs(stores, requester, events, now),
  ])
  return events.map((event) => {
    const unsigned = {
      transactionId: event.sentAs?.device === requester.device ? event.sentAs.transactionId : undefined,
      replaced: asState || event.replaces === undefined ? undefined : related.get(event.replaces),
      redactedBecause: event.redactedBy === undefined ? undefined : redactions.get(event.redactedBy),
      membership: event.stateAfter === undefined ? undefined : memberships?.get(event.stateAfter),
    }
    return clientEvent(name.rules, event, unsigned, { now, withRoomId })
  })
}

/** The events that these replaced, and those that redacted them. */
function relatedEvents(
  stores: Stores,
  name: RoomName,
  events: readonly StoredEvent[],
  asState: boolean,
): Promise<ReadonlyMap<EventNumber, StoredEvent>> | ReadonlyMap<EventNumber, StoredEvent> {
  const numbers: EventNumber[] = []
  for (const { replaces, redactedBy } of events) {
    if (replaces !== undefined && !asState) numbers.push(replaces)
    if (redactedBy !== undefined) numbers.push(redactedBy)
  }
  return numbers.length === 0 ? none : stores.events.events(name.room, numbers)
}

const none: ReadonlyMap<never, never> = new Map<never, never>()

/** Whoever may see an event need not be allowed to see who redacted it later, and why. */
async function readableRedactions(
  gate: Gate,
  name: RoomName,
  userId: string,
  events: readonly StoredEvent[],
  related: ReadonlyMap<EventNumber, StoredEvent>,
): Promise<ReadonlyMap<EventNumber, VisibleEvent>> {
  const redactions = events.flatMap(({ redactedBy }) => related.get(redactedBy ?? (0 as EventNumber)) ?? [])
  if (redactions.length === 0) return none
  const readable = await gate.readable(name, userReader({ userId }), redactions)
  return new Map(readable.map((event) => [event.number, event]))
}

/**
 * The requester's membership at each event, changes by the event itself included; `leave` for who had none yet.
 * By the state after it: a page of events has few distinct states.
 */
async function membershipsAt(
  stores: Stores,
  name: RoomName,
  userId: string,
  events: readonly StoredEvent[],
): Promise<ReadonlyMap<StateReference, string>> {
  const view = new StateView(stores, name.room)
  const memberships = new Map<StateReference, string>()
  for (const { stateAfter } of events) {
    if (stateAfter === undefined || memberships.has(stateAfter)) continue
    const member = await whenLoaded(() => view.stateEvent(stateAfter, 'm.room.member', userId))
    memberships.set(stateAfter, (member && ownString(member.event.content, 'membership')) ?? 'leave')
  }
  return memberships
}

/** Fills in `sentAs` of the requester's own events. Ids are kept for a day: older events are known to have none. */
async function loadSentAs(
  stores: Stores,
  { userId }: Asking,
  events: readonly StoredEvent[],
  now: number,
): Promise<void> {
  const unknown: StoredEvent[] = []
  for (const event of events) {
    if (event.sentAs !== undefined || event.event.sender !== userId) continue
    if (event.event.originServerTs < now - kept) event.sentAs = null
    else unknown.push(event)
  }
  if (unknown.length > 0) await loadTransactionIds(stores.db, userId, unknown)
}

/** A day, and one more until the clean-up has run everywhere. */
const kept = 2 * 24 * 3_600_000
