/** What the database holds of the events that arrivals name: three statements for all that come together. */
import { sql } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import { targetOf } from '../protocol/redaction.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Arrival } from './arrival.js'

export interface AtHand {
  /** By event id; undefined: it was asked for and is not here. What is taken in on the way is added. */
  readonly events: Map<string, StoredEvent | undefined>
  /** By event id: accepted redactions that wait for it. */
  readonly redactions: ReadonlyMap<string, readonly StoredEvent[]>
  /** Events that accepted events name as prev events. */
  readonly missed: ReadonlySet<string>
}

export async function gather(
  stores: Stores,
  room: RoomNumber,
  arrivals: readonly Pick<Arrival, 'event'>[],
): Promise<AtHand> {
  const own = arrivals.map(({ event }) => event.eventId)
  const named = arrivals.flatMap(({ event }) =>
    [...event.prevEvents, ...event.authEvents].concat(targetOf(event) ?? []),
  )
  const [events, redactions, missed] = await Promise.all([
    stores.events.byIds(room, [...new Set([...own, ...named])]),
    waitingFor(stores, room, own),
    missedAsPrevEvents(stores, room, own),
  ])
  return { events: new Map([...own, ...named].map((id) => [id, events.get(id)])), redactions, missed }
}

async function waitingFor(
  stores: Stores,
  room: RoomNumber,
  eventIds: readonly string[],
): Promise<Map<string, StoredEvent[]>> {
  const { rows } = await sql<{ target: string; event: EventNumber }>`
    select target_event_id as target, event from waiting_redaction
    where room = ${room} and target_event_id = any(${[...eventIds]}::text[]) order by event
  `.execute(stores.db)
  const found = new Map<string, StoredEvent[]>()
  if (rows.length === 0) return found
  const events = await stores.events.events(
    room,
    rows.map(({ event }) => event),
  )
  for (const { target, event } of rows) found.set(target, [...(found.get(target) ?? []), events.get(event)!])
  return found
}

async function missedAsPrevEvents(stores: Stores, room: RoomNumber, eventIds: readonly string[]): Promise<Set<string>> {
  const { rows } = await sql<{ event_id: string }>`
    select distinct gap.event_id from backward_extremity gap join event using (room, event)
    where gap.room = ${room} and gap.event_id = any(${[...eventIds]}::text[]) and fate = 0 and anchor is not null
  `.execute(stores.db)
  return new Set(rows.map((row) => row.event_id))
}
