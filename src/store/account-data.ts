import type { Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

/** Reading account data. It is written by the log writer, as facts, since all devices of its user hear of it. */

/** The JSON object as text; `room` 0 is global account data. */
export async function accountData(
  db: Kysely<LogTables>,
  userId: string,
  room: RoomNumber | 0,
  type: string,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('account_data')
    .select('content')
    .where('user_id', '=', userId)
    .where('room', '=', room)
    .where('type', '=', type)
    .executeTakeFirst()
  return row?.content
}

/** Global account data of several users, by user; those who have none are absent. */
export async function accountDataOf(
  db: Kysely<LogTables>,
  userIds: readonly string[],
  type: string,
): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom('account_data')
    .select(['user_id', 'content'])
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .where('room', '=', 0)
    .where('type', '=', type)
    .execute()
  return new Map(rows.map((row) => [row.user_id, row.content]))
}
