/** Messages that wait for a device. The log writer writes them; here they are read, and deleted once the device has them. */
import type { Kysely } from 'kysely'
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

/** The device has shown that it has everything up to a position. */
export async function deleteMessages(db: Kysely<LogTables>, device: DeviceNumber, upTo: Position): Promise<void> {
  await db.deleteFrom('to_device').where('device', '=', device).where('position', '<=', upTo).execute()
}
