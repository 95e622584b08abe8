/** Gaps in the history of a room: events that name prev events which we do not hold (`backward_extremity`). */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { RoomOrder } from './events.js'
import type { LogTables } from './log-tables.js'

/** Those of the events that stand right after a gap. */
export async function eventsAfterGaps(
  db: Kysely<LogTables>,
  room: RoomNumber,
  events: readonly EventNumber[],
): Promise<Set<EventNumber>> {
  const rows = await db
    .selectFrom('backward_extremity')
    .select('event')
    .distinct()
    .where('room', '=', room)
    .where('event', 'in', events)
    .execute()
  return new Set(rows.map((row) => row.event))
}

/** The order of the event that follows another order, if there is a gap between them. */
export async function gapAfter(
  db: Kysely<LogTables>,
  room: RoomNumber,
  { anchor, minor }: RoomOrder,
): Promise<RoomOrder | undefined> {
  const { rows } = await sql<RoomOrder>`
    select anchor, minor from (
      select event, anchor, minor from event
      where room = ${room} and anchor is not null and (anchor, minor) > (${anchor}, ${minor})
      order by anchor, minor limit 1
    ) next
    where exists (select from backward_extremity gap where gap.room = ${room} and gap.event = next.event)
  `.execute(db)
  return rows[0]
}

export interface GapBefore {
  readonly missing: readonly string[]
  /** The lowest place at the anchor that is taken, and the one before the gap, where there is one. */
  readonly lowest: number
  readonly below: number | null
  /** Of the event after the gap. */
  readonly sender: string
}

/** The gap before the event at an order. */
export async function gapAt(
  db: Kysely<LogTables>,
  room: RoomNumber,
  { anchor, minor }: RoomOrder,
): Promise<GapBefore | undefined> {
  const { rows } = await sql<GapBefore>`
    select sender,
      (select max(minor) from event where room = ${room} and anchor = ${anchor} and minor < ${minor}) as below,
      array(select event_id from backward_extremity gap where gap.room = ${room} and gap.event = after.event) as missing,
      (select min(minor) from event where room = ${room} and anchor = ${anchor}) as lowest
    from event after where room = ${room} and anchor = ${anchor} and minor = ${minor}
  `.execute(db)
  return rows[0]
}
