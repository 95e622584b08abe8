/**
 * The stream ids of local users' device lists, as other servers count them: each `m.device_list_update` of a user has a
 * number that is larger than the one before, and names that one. A server that was not told of a number sees that it
 * missed something, and asks for the whole list.
 * https://spec.matrix.org/v1.19/server-server-api/#device-management
 */
import { sql, type Kysely } from 'kysely'
import type { Tables } from './tables.js'

export interface DeviceListStreamTables {
  device_list_stream: { user_id: string; stream_id: number }
}

/** Of the newest update of a local user; 0 before the first. */
export async function deviceListStreamId(db: Kysely<Tables>, userId: string): Promise<number> {
  const row = await db
    .selectFrom('device_list_stream')
    .select('stream_id')
    .where('user_id', '=', userId)
    .executeTakeFirst()
  return row?.stream_id ?? 0
}

/** Takes the next numbers of a user, `count` of them, and resolves with the one before the first. */
export async function nextDeviceListStreamIds(db: Kysely<Tables>, userId: string, count: number): Promise<number> {
  const { rows } = await sql<{ stream_id: number }>`
    insert into device_list_stream (user_id, stream_id) values (${userId}, ${count})
    on conflict (user_id) do update set stream_id = device_list_stream.stream_id + ${count}
    returning stream_id
  `.execute(db)
  return rows[0]!.stream_id - count
}
