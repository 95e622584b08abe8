import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { RoomOrder } from './events.js'
import type { LogTables } from './log-tables.js'

/** Reading receipts. They are written by the log writer, as facts. */

/** Where the receipts of a user in a room stand, by `receiptKey`. */
export async function receiptPlaces(
  db: Kysely<LogTables>,
  room: RoomNumber,
  userId: string,
): Promise<Map<string, RoomOrder>> {
  const { rows } = await sql<{ receipt_type: string; thread_id: string; anchor: number; minor: number }>`
    select receipt_type, thread_id, event.anchor, event.minor
    from receipt join event using (room, event)
    where room = ${room} and user_id = ${userId} and anchor is not null
  `.execute(db)
  return new Map(rows.map((row) => [receiptKey(row.receipt_type, row.thread_id), row]))
}

/** `threadId` is '' for an unthreaded receipt. */
export const receiptKey = (type: string, threadId: string): string => `${type} ${threadId}`
