/**
 * How a device called its sends: `unsigned.transaction_id` of the events it gets back. Rows are written by the log writer
 * with their events and kept for a day.
 */
import { sql, type Kysely } from 'kysely'
import type { DeviceNumber, EventNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'
import type { StoredEvent } from './stored-event.js'

/** Fills in `sentAs` of events, all sent by this local user: one statement for all of them. */
export async function loadTransactionIds(
  db: Kysely<LogTables>,
  userId: string,
  events: readonly StoredEvent[],
): Promise<void> {
  const numbers = events.map(({ number }) => number)
  const { rows } = await sql<{ event: EventNumber; device: DeviceNumber; transaction_id: string }>`
    select client_transaction.event, client_transaction.device, transaction_id
    from device join client_transaction using (device)
    where device.user_id = ${userId} and client_transaction.event = any(${numbers}::bigint[])
  `.execute(db)
  const sent = new Map(rows.map((row) => [row.event, { device: row.device, transactionId: row.transaction_id }]))
  for (const event of events) event.sentAs = sent.get(event.number) ?? null
}
