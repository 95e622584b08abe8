import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.js'

/**
 * Changes of users' devices on their way into the log. Devices and keys are written in transactions of their own, the
 * log by its writer alone; in between the process may die, and nobody would ever hear of the change. So each change
 * leaves a row, which goes when the log has it (src/accounts/device-lists.ts).
 */
export interface DeviceListTables {
  untold_device_list: { number: number; user_id: string; created_ts: number }
}

/** To be called in the transaction that changes a device of the user, its keys or its name. */
export async function noteDeviceListChange(trx: Transaction<Tables>, userId: string, nowTs: number): Promise<void> {
  await sql`insert into untold_device_list (user_id, created_ts) values (${userId}, ${nowTs})`.execute(trx)
}

/** Changes that are not known to be in the log; of all users, or of one. */
export async function untoldDeviceLists(
  db: Kysely<Tables>,
  { userId, before, limit = 1000 }: { userId?: string; before?: number; limit?: number },
): Promise<{ number: number; userId: string }[]> {
  let query = db.selectFrom('untold_device_list').select(['number', 'user_id']).orderBy('number').limit(limit)
  if (userId !== undefined) query = query.where('user_id', '=', userId)
  if (before !== undefined) query = query.where('created_ts', '<', before)
  return (await query.execute()).map((row) => ({ number: row.number, userId: row.user_id }))
}

/** The log has them. By number: a change that was committed meanwhile has a row of its own. */
export async function deviceListsTold(db: Kysely<Tables>, numbers: readonly number[]): Promise<void> {
  if (numbers.length === 0) return
  await db
    .deleteFrom('untold_device_list')
    .where((row) => row('number', '=', row.fn.any(row.val([...numbers]))))
    .execute()
}
