/**
 * What happened in rooms between two positions, read from the tables for many rooms with one statement each: for syncs
 * that begin, and for those that come back from below the log's horizon.
 */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { EventNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import type { AccountDataFact, ReceiptFact } from './facts.js'
import { listOf } from './lists.js'
import { receiptFact } from './log-reader.js'
import type { LogTables } from './log-tables.js'
import type { RoomSummary } from './log-writer.js'
import { summaryOf } from './rooms.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

/** after < position <= upTo, in one room. */
export interface RoomWindow {
  readonly room: RoomNumber
  readonly after: Position
  readonly upTo: Position
}

export interface NewestEvents {
  /** In the order of the room. */
  readonly events: readonly StoredEvent[]
  /** There are older ones in the window. */
  readonly hasMore: boolean
}

const windowsTable = (windows: readonly RoomWindow[]): RawBuilder<unknown> =>
  sql`json_to_recordset(${JSON.stringify(windows)}) as w (room int, after bigint, "upTo" bigint)`

/** The newest events of each window, at most `limit`, history that was fetched later included. */
export async function newestEvents(
  stores: Stores,
  windows: readonly RoomWindow[],
  limit: number,
): Promise<Map<RoomNumber, NewestEvents>> {
  if (windows.length === 0) return new Map()
  const { rows } = await sql<{ room: RoomNumber; event: EventNumber }>`
    select e.room, e.event from ${windowsTable(windows)} cross join lateral (
      select room, event, anchor, minor from event
      where event.room = w.room and anchor is not null and anchor > w.after and anchor <= w."upTo"
      order by anchor desc, minor desc limit ${limit + 1}
    ) e order by e.room, e.anchor desc, e.minor desc
  `.execute(stores.db)
  const events = await stores.events.eventsOfRooms(rows)
  const newest = new Map<RoomNumber, { events: StoredEvent[]; hasMore: boolean }>()
  for (const { room, event } of rows) {
    let found = newest.get(room)
    if (found === undefined) newest.set(room, (found = { events: [], hasMore: false }))
    const stored = events.get(event)
    if (found.hasMore || stored === undefined) continue
    if (found.events.length === limit) found.hasMore = true
    else found.events.push(stored)
  }
  for (const found of newest.values()) found.events.reverse()
  return newest
}

/** The current states of rooms as of positions; a room that had none is absent. */
export async function statesAt(
  db: Kysely<LogTables>,
  places: readonly { readonly room: RoomNumber; readonly position: Position }[],
): Promise<Map<RoomNumber, StateReference>> {
  if (places.length === 0) return new Map()
  const { rows } = await sql<{ room: RoomNumber; state_after: StateReference }>`
    select w.room, s.state_after from json_to_recordset(${JSON.stringify(places)}) as w (room int, position bigint)
    cross join lateral (
      select state_after from state_change
      where state_change.room = w.room and state_change.position <= w.position order by position desc limit 1
    ) s
  `.execute(db)
  return new Map(rows.map((row) => [row.room, row.state_after]))
}

/** A room shows at most so many receipts at once, the newest: in a large one there is one for every member. */
const MAX_RECEIPTS = 500

/** Receipts that a user may see: private ones are their own. */
export async function receiptsIn(
  db: Kysely<LogTables>,
  windows: readonly RoomWindow[],
  userId: string,
): Promise<ReceiptFact[]> {
  if (windows.length === 0) return []
  const { rows } = await sql<LogTables['receipt']>`
    select r.* from ${windowsTable(windows)} cross join lateral (
      select * from receipt
      where receipt.room = w.room and position > w.after and position <= w."upTo"
        and (receipt_type <> 'm.read.private' or user_id = ${userId})
      order by position desc limit ${MAX_RECEIPTS}
    ) r order by r.position
  `.execute(db)
  return rows.map(receiptFact)
}

/** Account data of a user that changed, global and of rooms, in the order in which it did. */
export async function accountDataIn(
  db: Kysely<LogTables>,
  userId: string,
  after: Position,
  upTo: Position,
): Promise<AccountDataFact[]> {
  const rows = await db
    .selectFrom('account_data')
    .selectAll()
    .where('user_id', '=', userId)
    .where('position', '>', after)
    .where('position', '<=', upTo)
    .orderBy('position')
    .execute()
  return rows.map(({ user_id, room, type, content, position }) => ({
    kind: 'account-data',
    position,
    room,
    user: user_id,
    type,
    content,
  }))
}

export async function summariesOf(
  db: Kysely<LogTables>,
  rooms: readonly RoomNumber[],
): Promise<Map<RoomNumber, RoomSummary>> {
  if (rooms.length === 0) return new Map()
  const rows = await db
    .selectFrom('room_summary')
    .selectAll()
    .where(sql<boolean>`room = any(${[...rooms]}::int[])`)
    .execute()
  return new Map(rows.map((row) => [row.room, summaryOf(row)]))
}

/** Those of the rooms whose members are still to come. */
export async function partialRooms(
  db: Kysely<LogTables>,
  rooms: readonly RoomNumber[],
): Promise<ReadonlySet<RoomNumber>> {
  if (rooms.length === 0) return new Set()
  const rows = await db
    .selectFrom('room')
    .select('room')
    .where(sql<boolean>`room = any(${[...rooms]}::int[])`)
    .where('partial_join', 'is not', null)
    .execute()
  return new Set(rows.map(({ room }) => room))
}

export interface FirstMembers {
  /** In the room or invited. */
  readonly present: readonly string[]
  /** Who left or was banned. */
  readonly gone: readonly string[]
}

/** The first members of rooms in the order in which they came, up to `limit` of each kind. */
export async function firstMembers(
  db: Kysely<LogTables>,
  rooms: readonly RoomNumber[],
  limit: number,
): Promise<Map<RoomNumber, FirstMembers>> {
  const found = new Map<RoomNumber, { present: string[]; gone: string[] }>(
    rooms.map((room) => [room, { present: [], gone: [] }]),
  )
  if (rooms.length === 0) return found
  const { rows } = await sql<{ room: RoomNumber; user_id: string; present: boolean }>`
    select w.room, m.user_id, p.present
    from unnest(${listOf(rooms, 'int')}) as w (room) cross join (values (true), (false)) as p (present)
    cross join lateral (
      select user_id, position from membership
      where membership.room = w.room
        and membership = any(case when p.present then array['join', 'invite'] else array['leave', 'ban'] end)
      -- an expression: by the index of positions the memberships of all rooms would be looked through for those of one
      order by position + 0 limit ${limit}
    ) m order by m.position
  `.execute(db)
  for (const { room, user_id, present } of rows) {
    const members = found.get(room)!
    ;(present ? members.present : members.gone).push(user_id)
  }
  return found
}
