/**
 * What the database holds of the events that arrivals name: one statement for all that come together. What is committed
 * after it was asked it may not have heard of, and is added: from the commit on it is not on its way any more either.
 */
import type { RoomNumber } from '../protocol/numbers.js'
import { targetOf } from '../protocol/redaction.js'
import type { NewEvent } from '../store/log-writer.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Arrival } from './arrival.js'

export class AtHand {
  /** By event id; undefined: it was asked for and is not here. What is taken in on the way is added. */
  readonly events = new Map<string, StoredEvent | undefined>()
  /** By event id: accepted redactions that wait for it. */
  readonly redactions = new Map<string, readonly StoredEvent[]>()
  /** Events that accepted events name as prev events. */
  readonly missed = new Set<string>()

  constructor(private readonly arrivals: readonly Pick<Arrival, 'event'>[]) {}

  async ask({ events }: Stores, room: RoomNumber): Promise<void> {
    const own = this.arrivals.map(({ event }) => event.eventId)
    const named = this.arrivals.flatMap(({ event }) =>
      [...event.prevEvents, ...event.authEvents].concat(targetOf(event) ?? []),
    )
    const { held, redactions, missed } = await events.aroundArrivals(room, own, named)
    for (const id of [...own, ...named]) if (!this.events.has(id)) this.events.set(id, held.get(id))
    for (const [id, some] of redactions) this.addRedactions(id, some)
    for (const id of missed) this.missed.add(id)
  }

  /** It is committed. */
  add({ stored, received }: NewEvent): void {
    this.events.set(stored.event.eventId, stored)
    if (received?.waitsFor !== undefined) this.addRedactions(received.waitsFor, [stored])
    if (stored.fate === 'accepted') for (const id of received?.missingPrevEvents ?? []) this.missed.add(id)
  }

  private addRedactions(id: string, some: readonly StoredEvent[]): void {
    this.redactions.set(id, [...(this.redactions.get(id) ?? []), ...some])
  }
}
