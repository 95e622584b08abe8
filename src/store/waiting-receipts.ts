/** Receipts of events that are not here (yet). Who writes them and what becomes of them: src/room/waiting-receipts.ts. */
import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { Tables } from './tables.js'

export interface WaitingReceiptTables {
  waiting_receipt: {
    room: RoomNumber
    user_id: string
    thread_id: string
    event_id: string
    ts: number
    received_ts: number
  }
}

export interface WaitingReceipt {
  readonly room: RoomNumber
  readonly userId: string
  /** '' for an unthreaded receipt. */
  readonly threadId: string
  readonly eventId: string
  readonly ts: number
}

/** Of one user in a room: an unthreaded one, and those of so many threads. */
const MOST_OF_USER = 20
/** Of a room. Beyond, only what waits already is replaced. */
const MOST_OF_ROOM = 5_000

/** Replaces what waits for the same thread. Beyond the limit of a user, those go that came first. */
export async function keepReceipt(db: Kysely<Tables>, receipt: WaitingReceipt, nowTs: number): Promise<void> {
  const { room, userId, threadId, eventId, ts } = receipt
  await sql`
    insert into waiting_receipt (room, user_id, thread_id, event_id, ts, received_ts)
    select ${room}::int, ${userId}, ${threadId}, ${eventId}, ${ts}::bigint, ${nowTs}::bigint
    where (select count(*) from (select from waiting_receipt where room = ${room} limit ${MOST_OF_ROOM}) x) < ${MOST_OF_ROOM}
      or exists (
        select from waiting_receipt where room = ${room} and user_id = ${userId} and thread_id = ${threadId})
    on conflict (room, user_id, thread_id) do update
      set event_id = excluded.event_id, ts = excluded.ts, received_ts = excluded.received_ts
  `.execute(db)
  if (threadId === '') return
  await sql`
    delete from waiting_receipt where room = ${room} and user_id = ${userId} and thread_id in (
      select thread_id from waiting_receipt where room = ${room} and user_id = ${userId}
      order by thread_id <> '', received_ts desc offset ${MOST_OF_USER})
  `.execute(db)
}

type Row = { room: RoomNumber; user_id: string; thread_id: string; event_id: string; ts: number }

const receiptOf = ({ user_id, thread_id, event_id, ...row }: Row): WaitingReceipt => ({
  ...row,
  userId: user_id,
  threadId: thread_id,
  eventId: event_id,
})

export interface EventOfRoom {
  readonly room: RoomNumber
  readonly eventId: string
}

/** Those of these events. */
export async function receiptsWaitingFor(
  db: Kysely<Tables>,
  events: readonly EventOfRoom[],
): Promise<WaitingReceipt[]> {
  const { rows } = await sql<Row>`
    select w.room, user_id, thread_id, event_id, ts from waiting_receipt w
    join json_to_recordset(${JSON.stringify(events)}) as x (room int, "eventId" text)
      on w.room = x.room and event_id = x."eventId"
  `.execute(db)
  return rows.map(receiptOf)
}

/** Those whose events are here by now; at most so many. */
export async function receiptsOverdue(db: Kysely<Tables>, limit: number): Promise<WaitingReceipt[]> {
  const { rows } = await sql<Row>`
    select room, user_id, thread_id, event_id, waiting_receipt.ts from waiting_receipt join event using (room, event_id)
    where event.anchor is not null limit ${limit}
  `.execute(db)
  return rows.map(receiptOf)
}

/** Unless another has come in its place. */
export async function forgetReceipt(db: Kysely<Tables>, receipt: WaitingReceipt): Promise<void> {
  const { room, userId, threadId, eventId } = receipt
  await db
    .deleteFrom('waiting_receipt')
    .where('room', '=', room)
    .where('user_id', '=', userId)
    .where('thread_id', '=', threadId)
    .where('event_id', '=', eventId)
    .execute()
}
