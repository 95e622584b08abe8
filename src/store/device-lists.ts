import { sql, type Kysely, type Transaction } from 'kysely'
import type { Position } from '../protocol/numbers.js'
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

/** Changes that are not known to be in the log; of all users, or of some. */
export async function untoldDeviceLists(
  db: Kysely<Tables>,
  { userIds, before, limit = 1000 }: { userIds?: readonly string[]; before?: number; limit?: number },
): Promise<{ number: number; userId: string }[]> {
  let query = db.selectFrom('untold_device_list').select(['number', 'user_id']).orderBy('number').limit(limit)
  if (userIds !== undefined) query = query.where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
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

/**
 * Of whom a user has to fetch the devices anew, having heard of everything up to a position: those who share a room now
 * and changed their devices since, or came to share one. And of whom no longer: those with whom they shared a room then
 * and share none now. Somebody may be named who need not be: the first costs their client a request, the second nothing.
 */
export async function deviceListsSince(
  db: Kysely<Tables>,
  userId: string,
  since: Position,
): Promise<{ changed: string[]; left: string[] }> {
  const mine = sql`mine as materialized (
    select room, position from membership where user_id = ${userId} and membership = 'join'
  )`
  const changed = await sql<{ user_id: string }>`
    with ${mine}
    select user_id from device_list_change d
    where position > ${since} and (user_id = ${userId} or exists (
      select from membership m join mine using (room) where m.user_id = d.user_id and m.membership = 'join'))
    union
    select user_id from membership m join mine using (room)
    where m.membership = 'join' and m.user_id <> ${userId} and (m.position > ${since} or mine.position > ${since})
  `.execute(db)
  const left = await sql<{ user_id: string }>`
    with ${mine}, ended as materialized (
      select room, max(to_position) as until from past_membership
      where user_id = ${userId} and membership = 'join' and to_position > ${since} and room not in (select room from mine)
      group by room
    )
    select user_id from (
      select user_id from past_membership p
      where membership = 'join' and to_position > ${since}
        and (room in (select room from mine) or exists (
          select from ended where ended.room = p.room and p.from_position < ended.until))
      union
      select user_id from membership m join ended using (room) where m.membership = 'join' and m.position < ended.until
    ) shared
    where user_id <> ${userId} and not exists (
      select from membership m join mine using (room) where m.user_id = shared.user_id and m.membership = 'join')
  `.execute(db)
  return { changed: changed.rows.map((row) => row.user_id), left: left.rows.map((row) => row.user_id) }
}
