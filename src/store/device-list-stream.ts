/**
 * The device lists of local users as other servers were told them: each `m.device_list_update` of a user has a number one
 * larger than the one before, and names that one. A server that was not told of a number sees that it missed something,
 * and asks for the whole list. What has changed is found by comparing the devices with what was told of each, so telling
 * twice tells nothing the second time.
 * https://spec.matrix.org/v1.19/server-server-api/#device-management
 */
import { hash } from 'node:crypto'
import { sql, type Kysely, type Transaction } from 'kysely'
import { deviceKeysOf, type DeviceKeys } from './device-keys.js'
import type { Tables } from './tables.js'

export interface DeviceListStreamTables {
  device_list_stream: { user_id: string; stream_id: number }
  told_device: { user_id: string; device_id: string; digest: string }
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

export interface DeviceUpdate {
  readonly deviceId: string
  readonly streamId: number
  /** undefined: the device is gone, or its keys are. */
  readonly device: DeviceKeys | undefined
}

/** What is to be told of a user's devices; it counts as told when the transaction is committed. Users are told one by one. */
export async function untoldDevices(trx: Transaction<Tables>, userId: string): Promise<DeviceUpdate[]> {
  // Locks the user's row: whoever comes at the same time compares with what is told here.
  await sql`
    insert into device_list_stream (user_id, stream_id) values (${userId}, 0)
    on conflict (user_id) do update set stream_id = device_list_stream.stream_id
  `.execute(trx)
  const before = await deviceListStreamId(trx, userId)
  const devices = new Map(
    ((await deviceKeysOf(trx, [userId])).get(userId) ?? []).map((device) => [device.deviceId, device]),
  )
  const told = await trx.selectFrom('told_device').selectAll().where('user_id', '=', userId).execute()
  const digests = new Map(told.map((row) => [row.device_id, row.digest]))
  const changed = [...devices.values()].filter((device) => digests.get(device.deviceId) !== digestOf(device))
  const gone = [...digests.keys()].filter((deviceId) => !devices.has(deviceId))
  const updates = [...changed.map(({ deviceId }) => deviceId), ...gone].map((deviceId, index) => ({
    deviceId,
    streamId: before + 1 + index,
    device: devices.get(deviceId),
  }))
  if (updates.length > 0) await noteTold(trx, userId, { changed, gone, streamId: before + updates.length })
  return updates
}

async function noteTold(
  trx: Transaction<Tables>,
  userId: string,
  told: { readonly changed: readonly DeviceKeys[]; readonly gone: readonly string[]; readonly streamId: number },
): Promise<void> {
  await sql`
    with gone as (delete from told_device where user_id = ${userId} and device_id = any(${[...told.gone]}::text[])),
    stream as (update device_list_stream set stream_id = ${told.streamId} where user_id = ${userId})
    insert into told_device (user_id, device_id, digest)
    select ${userId}, * from unnest(${told.changed.map(({ deviceId }) => deviceId)}::text[],
      ${told.changed.map(digestOf)}::text[])
    on conflict (user_id, device_id) do update set digest = excluded.digest
  `.execute(trx)
}

const digestOf = ({ displayName, body }: DeviceKeys): string =>
  hash('sha256', JSON.stringify([displayName, body]), 'base64url')
