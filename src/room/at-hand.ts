/** What the database holds of the events that arrivals name: one statement for all that come together. */
import type { RoomNumber } from '../protocol/numbers.js'
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
  const { held, redactions, missed } = await stores.events.aroundArrivals(room, own, named)
  return { events: new Map([...own, ...named].map((id) => [id, held.get(id)])), redactions, missed }
}
