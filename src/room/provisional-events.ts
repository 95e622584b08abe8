/** What was judged while members of a room were still to come, and the outliers that stand on it (judge-anew.ts). */
import { sql } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { Stores } from '../store/stores.js'
import type { Provisional } from './judge-anew.js'

/** In the order in which they came; outliers after them. */
export async function provisionalEvents(stores: Stores, room: RoomNumber): Promise<Provisional[]> {
  const rows = await stores.db
    .selectFrom('provisional_event')
    .select(['event', 'policy'])
    .where('room', '=', room)
    .where('settled_ts', 'is', null)
    .orderBy('ordinal')
    .execute()
  const policies = new Map(rows.map(({ event, policy }) => [event, policy ?? undefined]))
  const outliers = await outliersOn(stores, room, [...policies.keys()])
  const numbers = [...policies.keys(), ...outliers]
  const events = await stores.events.events(room, numbers)
  return numbers.map((number) => ({ event: events.get(number)!, policy: policies.get(number) }))
}

/** Those that name one of these as an auth event, and those that name them. */
async function outliersOn(
  { db }: Stores,
  room: RoomNumber,
  events: readonly EventNumber[],
): Promise<ReadonlySet<EventNumber>> {
  const found = new Set<EventNumber>()
  let front = events
  while (front.length > 0) {
    const { rows } = await sql<{ event: EventNumber }>`
      select event from event where room = ${room} and state_key is not null and auth_events && ${[...front]}::bigint[]
        and state_before is null
    `.execute(db)
    front = rows.map(({ event }) => event).filter((event) => !found.has(event))
    for (const event of front) found.add(event)
  }
  return found
}
