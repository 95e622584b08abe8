/** Messages that wait for a device. The log writer writes them; here they are read, and deleted once the device has them. */
import { sql, type Kysely } from 'kysely'
import type { DeviceNumber, Position } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

export interface WaitingMessage {
  readonly position: Position
  readonly sender: string
  readonly type: string
  /** A JSON object as text. */
  readonly content: string
}

/** The oldest messages with after < position <= upTo, in order. */
export function waitingMessages(
  db: Kysely<LogTables>,
  device: DeviceNumber,
  after: Position,
  upTo: Position,
  limit: number,
): Promise<WaitingMessage[]> {
  return db
    .selectFrom('to_device')
    .select(['position', 'sender', 'type', 'content'])
    .where('device', '=', device)
    .where('position', '>', after)
    .where('position', '<=', upTo)
    .orderBy('position')
    .limit(limit)
    .execute()
}

/** The device has shown that it has everything up to a position. Resolves with the position of the newest that is left. */
export async function deleteMessages(
  db: Kysely<LogTables>,
  device: DeviceNumber,
  upTo: Position,
): Promise<Position | undefined> {
  const { rows } = await sql<{ newest: Position | null }>`
    with arrived as (delete from to_device where device = ${device} and position <= ${upTo})
    select max(position) as newest from to_device where device = ${device} and position > ${upTo}
  `.execute(db)
  return rows[0]?.newest ?? undefined
}
