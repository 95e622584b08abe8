/** Walking back through a room along the prev events, as far as events are here and the state before them is known. */
import { sql } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import { fateNumber } from './events.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

export interface Walk {
  /** Events it begins at; those that are not here are passed over. */
  readonly from: readonly string[]
  /** Whether these are among the result. */
  readonly fromIncluded: boolean
  /** Events that are neither taken nor walked through. */
  readonly until?: readonly string[]
  /** Below it nothing is taken or walked through. */
  readonly minDepth?: number
  readonly limit: number
}

/** For each event that is wanted, so many are come by; one counts once for each length of a way that leads to it. */
const STEPS = 10

/** The nearest first, breadth first; of those equally near the newest. Rejected events are walked through and left out. */
export async function walkBack(stores: Stores, room: RoomNumber, walk: Walk): Promise<StoredEvent[]> {
  const { from, fromIncluded, until = [], minDepth = 0, limit } = walk
  if (limit <= 0 || from.length === 0) return []
  const { rows } = await sql<{ event: EventNumber }>`
    with recursive stop (event) as materialized (
      select event from event where room = ${room} and event_id = any(${[...until]}::text[])
    ), walk (event, level) as (
      select event, 0 from event where room = ${room} and event_id = any(${[...from]}::text[])
      union
      select prev, level + 1
      from walk
        -- limit: planned as the look at one event that it is
        cross join lateral (
          select prev_events from event
          where room = ${room} and event = walk.event and state_before is not null
            and (level = 0 or depth >= ${minDepth})
          limit 1
        ) as child
        cross join unnest(child.prev_events) as prev
      where level < ${limit} and prev <> all(array(select event from stop))
    ), nearest as (
      select event, min(level) as level
      from (select event, level from walk limit ${from.length + STEPS * limit}) as steps group by event
    )
    select event from nearest join event using (event)
    where room = ${room} and state_before is not null and fate <> ${fateNumber('rejected')}
      and (level = 0 or depth >= ${minDepth}) and level >= ${fromIncluded ? 0 : 1}
    order by level, anchor desc, minor desc limit ${limit}
  `.execute(stores.db)
  const numbers = rows.map(({ event }) => event)
  const events = await stores.events.events(room, numbers)
  return numbers.flatMap((number) => events.get(number) ?? [])
}
