import { sql } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import { fateNumber } from './events.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

export interface TimePage {
  /** Included; of equal times, those that come after an event. */
  readonly from: { readonly ts: number; readonly after?: EventNumber }
  readonly backwards: boolean
  readonly limit: number
}

/** Accepted events that have a place in the room, by the time their senders say, then by number. */
export async function eventsByTime(
  stores: Stores,
  room: RoomNumber,
  { from: { ts, after }, backwards, limit }: TimePage,
): Promise<StoredEvent[]> {
  const [direction, isBeyond] = backwards ? [sql`desc`, sql`<`] : [sql`asc`, sql`>`]
  const isFrom =
    after === undefined
      ? sql`origin_server_ts ${isBeyond}= ${ts}`
      : sql`(origin_server_ts, event) ${isBeyond} (${ts}, ${after})`
  const { rows } = await sql<{ event: EventNumber }>`
    select event from event
    where room = ${room} and anchor is not null and fate = ${fateNumber('accepted')} and ${isFrom}
    order by origin_server_ts ${direction}, event ${direction} limit ${limit}
  `.execute(stores.db)
  const numbers = rows.map(({ event }) => event)
  const events = await stores.events.events(room, numbers)
  return numbers.flatMap((number) => events.get(number) ?? [])
}
