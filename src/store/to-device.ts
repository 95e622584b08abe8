/**
 * Who receives messages to devices, and which of them were sent before. The messages themselves are the log writer's.
 * https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
 */
import { sql, type Kysely } from 'kysely'
import type { DeviceNumber } from '../protocol/numbers.js'
import type { Tables } from './tables.js'

export interface ToDeviceTransactionTables {
  to_device_transaction: { device: DeviceNumber; key: Buffer; created_ts: number }
  received_message: { origin: string; message_id: string; received_ts: number }
}

export interface LocalDevice {
  readonly userId: string
  readonly deviceId: string
  readonly device: DeviceNumber
}

/** All devices of users. */
export async function devicesOfUsers(db: Kysely<Tables>, userIds: readonly string[]): Promise<LocalDevice[]> {
  if (userIds.length === 0) return []
  const rows = await db
    .selectFrom('device')
    .select(['user_id', 'device_id', 'device'])
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .orderBy('device')
    .execute()
  return rows.map((row) => ({ userId: row.user_id, deviceId: row.device_id, device: row.device }))
}

/** Whether the device has sent this before. `key`: 16 bytes. */
export async function wasSentToDevices(db: Kysely<Tables>, device: DeviceNumber, key: Buffer): Promise<boolean> {
  const row = await db
    .selectFrom('to_device_transaction')
    .select('device')
    .where('device', '=', device)
    .where('key', '=', key)
    .executeTakeFirst()
  return row !== undefined
}

/** A device that was logged out meanwhile will not ask again. */
export async function noteSentToDevices(
  db: Kysely<Tables>,
  device: DeviceNumber,
  key: Buffer,
  nowTs: number,
): Promise<void> {
  await sql`
    insert into to_device_transaction (device, key, created_ts)
    select device, ${key}, ${nowTs} from device where device = ${device}
    on conflict do nothing
  `.execute(db)
}

/** Those of the messages of another server that were taken before. */
export async function messagesTaken(
  db: Kysely<Tables>,
  origin: string,
  messageIds: readonly string[],
): Promise<Set<string>> {
  if (messageIds.length === 0) return new Set()
  const rows = await db
    .selectFrom('received_message')
    .select('message_id')
    .where('origin', '=', origin)
    .where((row) => row('message_id', '=', row.fn.any(row.val([...messageIds]))))
    .execute()
  return new Set(rows.map((row) => row.message_id))
}

export async function noteMessagesTaken(
  db: Kysely<Tables>,
  origin: string,
  messageIds: readonly string[],
  nowTs: number,
): Promise<void> {
  if (messageIds.length === 0) return
  await sql`
    insert into received_message (origin, message_id, received_ts)
    select ${origin}, message_id, ${nowTs} from unnest(${[...messageIds]}::text[]) as message_id
    on conflict do nothing
  `.execute(db)
}
