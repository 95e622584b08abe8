/**
 * Where users have read up to. A room keeps running counts of the events that notify, or highlight, by the default rules;
 * what is unread is the growth of these since the user's own mark: the newest of their receipts, of the events they sent
 * themselves, and of their joining.
 */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

/** A place in a room, with the room's counts there. */
export interface ReadMark {
  /** The order in the room, without its minor part. */
  readonly anchor: number
  readonly notifyCount: number
  readonly highlightCount: number
}

export interface UnreadRow {
  readonly room: RoomNumber
  /** The room's counts now. */
  readonly notifyCount: number
  readonly highlightCount: number
  readonly mark: ReadMark
  /** Positions of events that highlight for this user and not for all. */
  readonly highlights: readonly number[]
}

/** An event of one's own that is farther back than so many is not looked for: the receipts since then say more. */
const OWN_EVENT_DEPTH = 1_000

/** For all rooms the user is joined to, or for some of them. Three statements, however many rooms. */
export async function unreadOf(
  db: Kysely<LogTables>,
  userId: string,
  rooms?: readonly RoomNumber[],
): Promise<UnreadRow[]> {
  const within = rooms === undefined ? sql`true` : sql`m.room = any(${[...rooms]}::int[])`
  const marks = await sql<MarkRow>`
    select m.room, room.notify_count, room.highlight_count,
      coalesce(mark.anchor, 0) as anchor, coalesce(mark.notify_count, 0) as mark_notify,
      coalesce(mark.highlight_count, 0) as mark_highlight
    from membership m join room using (room)
    left join lateral (
      select e.anchor, e.notify_count, e.highlight_count from event e where e.room = m.room and e.event = m.event
      union all
      select e.anchor, r.notify_count, r.highlight_count from receipt r join event e using (room, event)
      where r.room = m.room and r.user_id = ${userId} and r.receipt_type in ('m.read', 'm.read.private')
        and r.thread_id in ('', 'main')
      order by notify_count desc, anchor desc limit 1
    ) mark on true
    where m.user_id = ${userId} and m.membership = 'join' and ${within}
  `.execute(db)
  const own = await ownEvents(db, userId, marks.rows)
  const highlights = await highlightsOf(db, userId)
  return marks.rows.map((row) => {
    const mark = own.get(row.room) ?? {
      anchor: row.anchor,
      notifyCount: row.mark_notify,
      highlightCount: row.mark_highlight,
    }
    return {
      room: row.room,
      notifyCount: row.notify_count,
      highlightCount: row.highlight_count,
      mark,
      highlights: (highlights.get(row.room) ?? []).filter((position) => position > mark.anchor),
    }
  })
}

interface MarkRow {
  room: RoomNumber
  notify_count: number
  highlight_count: number
  anchor: number
  mark_notify: number
  mark_highlight: number
}

/** The user's newest event after their mark, in the rooms where something is unread. */
async function ownEvents(
  db: Kysely<LogTables>,
  userId: string,
  rows: readonly MarkRow[],
): Promise<Map<RoomNumber, ReadMark>> {
  const unread = rows.filter((row) => row.notify_count > row.mark_notify)
  if (unread.length === 0) return new Map()
  const wanted = unread.map(({ room, anchor }) => ({ room, anchor }))
  const { rows: found } = await sql<{
    room: RoomNumber
    anchor: number
    notify_count: number
    highlight_count: number
  }>`
    select w.room, e.anchor, e.notify_count, e.highlight_count
    from json_to_recordset(${JSON.stringify(wanted)}) as w (room int, anchor bigint)
    cross join lateral (
      select * from (
        select sender, anchor, minor, notify_count, highlight_count from event
        where event.room = w.room and event.anchor > w.anchor and event.anchor is not null
        order by anchor desc, minor desc limit ${OWN_EVENT_DEPTH}
      ) newest where sender = ${userId} order by anchor desc, minor desc limit 1
    ) e
  `.execute(db)
  return new Map(
    found.map((row) => [
      row.room,
      { anchor: row.anchor, notifyCount: row.notify_count, highlightCount: row.highlight_count },
    ]),
  )
}

async function highlightsOf(db: Kysely<LogTables>, userId: string): Promise<Map<RoomNumber, number[]>> {
  const rows = await db
    .selectFrom('highlight')
    .select(['room', 'position'])
    .where('user_id', '=', userId)
    .orderBy('position')
    .execute()
  const byRoom = new Map<RoomNumber, number[]>()
  for (const { room, position } of rows) {
    const ofRoom = byRoom.get(room)
    if (ofRoom === undefined) byRoom.set(room, [position])
    else ofRoom.push(position)
  }
  return byRoom
}

/** The anchor of an event; undefined for outliers and unknown events. */
export async function anchorOf(
  db: Kysely<LogTables>,
  room: RoomNumber,
  event: EventNumber,
): Promise<number | undefined> {
  const row = await db
    .selectFrom('event')
    .select('anchor')
    .where('room', '=', room)
    .where('event', '=', event)
    .executeTakeFirst()
  return row?.anchor ?? undefined
}
