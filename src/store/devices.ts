import { sql, type Generated, type Kysely, type Transaction } from 'kysely'
import type { DeviceNumber } from '../protocol/numbers.js'
import { listOf } from './lists.js'
import type { Tables } from './tables.js'

/**
 * Devices of local users. A device has one access token, kept as its SHA-256. Log-in under an existing device id keeps the
 * device and replaces its token; log-out deletes the device with all that belongs to it.
 * https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
 */
export interface DeviceTables {
  device: {
    device: Generated<DeviceNumber>
    user_id: string
    device_id: string
    display_name: string | null
    token_hash: Buffer
    created_ts: number
    last_seen_ts: number
    last_seen_ip: string
  }
}

export interface Device {
  readonly device: DeviceNumber
  readonly deviceId: string
  readonly displayName: string | undefined
  readonly lastSeenTs: number
  readonly lastSeenIp: string
}

export interface NewDevice {
  readonly userId: string
  readonly deviceId: string
  /** Only for a device that is new. */
  readonly displayName: string | undefined
  /** SHA-256 of the access token. */
  readonly tokenHash: Buffer
  readonly ip: string
}

/** Makes the device, or gives the existing one another token. */
export async function putDevice(trx: Transaction<Tables>, device: NewDevice, nowTs: number): Promise<DeviceNumber> {
  const seen = { last_seen_ts: nowTs, last_seen_ip: device.ip }
  const row = await trx
    .insertInto('device')
    .values({
      user_id: device.userId,
      device_id: device.deviceId,
      display_name: device.displayName ?? null,
      token_hash: device.tokenHash,
      created_ts: nowTs,
      ...seen,
    })
    .onConflict((conflict) =>
      conflict.columns(['user_id', 'device_id']).doUpdateSet({ token_hash: device.tokenHash, ...seen }),
    )
    .returning('device')
    .executeTakeFirstOrThrow()
  return row.device
}

/** In the order in which they were made. */
export async function devicesOf(db: Kysely<Tables>, userId: string): Promise<Device[]> {
  const rows = await db.selectFrom('device').selectAll().where('user_id', '=', userId).orderBy('device').execute()
  return rows.map((row) => ({
    device: row.device,
    deviceId: row.device_id,
    displayName: row.display_name ?? undefined,
    lastSeenTs: row.last_seen_ts,
    lastSeenIp: row.last_seen_ip,
  }))
}

/** False when the user has no such device. */
export async function renameDevice(
  db: Kysely<Tables>,
  userId: string,
  deviceId: string,
  displayName: string,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('device')
    .set({ display_name: displayName })
    .where('user_id', '=', userId)
    .where('device_id', '=', deviceId)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

export interface DevicesToDelete {
  /** Undefined: all of the user's. */
  readonly deviceIds?: readonly string[] | undefined
  readonly except?: DeviceNumber | undefined
}

/** Deletes devices and what belongs to them. Returns those there were; ids the user does not have are passed over. */
export async function deleteDevices(
  trx: Transaction<Tables>,
  userId: string,
  { deviceIds, except }: DevicesToDelete,
): Promise<DeviceNumber[]> {
  let query = trx.deleteFrom('device').where('user_id', '=', userId)
  if (deviceIds !== undefined) query = query.where(sql<boolean>`device_id = any(${[...deviceIds]})`)
  if (except !== undefined) query = query.where('device', '<>', except)
  const devices = (await query.returning('device').execute()).map((row) => row.device)
  if (devices.length > 0) {
    await trx
      .deleteFrom('to_device')
      .where(sql<boolean>`device = any(${devices})`)
      .execute()
    await trx
      .deleteFrom('client_transaction')
      .where(sql<boolean>`device = any(${devices})`)
      .execute()
  }
  return devices
}

export interface TokenOwner {
  readonly tokenHash: Buffer
  readonly device: DeviceNumber
  readonly deviceId: string
  readonly userId: string
  readonly isAdmin: boolean
  readonly lastSeenTs: number
  readonly lastSeenIp: string
}

/** Whose access tokens these are. Hashes of tokens that are not known, or of deactivated users, are passed over. */
export async function tokenOwners(db: Kysely<Tables>, tokenHashes: readonly Buffer[]): Promise<TokenOwner[]> {
  const rows = await db
    .selectFrom('device')
    .innerJoin('account', 'account.user_id', 'device.user_id')
    .select(['token_hash', 'device', 'device_id', 'device.user_id', 'is_admin', 'last_seen_ts', 'last_seen_ip'])
    .where(sql<boolean>`token_hash = any(${tokenHashes}::bytea[])`)
    .where('deactivated_ts', 'is', null)
    .execute()
  return rows.map((row) => ({
    tokenHash: row.token_hash,
    device: row.device,
    deviceId: row.device_id,
    userId: row.user_id,
    isAdmin: row.is_admin,
    lastSeenTs: row.last_seen_ts,
    lastSeenIp: row.last_seen_ip,
  }))
}

export interface Sighting {
  readonly device: DeviceNumber
  readonly ts: number
  readonly ip: string
}

/** Devices that were deleted meanwhile are passed over. */
export async function noteSightings(db: Kysely<Tables>, sightings: readonly Sighting[]): Promise<void> {
  const devices = listOf(
    sightings.map(({ device }) => device),
    'int',
  )
  const times = listOf(
    sightings.map(({ ts }) => ts),
    'bigint',
  )
  const ips = listOf(
    sightings.map(({ ip }) => ip),
    'text',
  )
  await sql`
    update device
    set last_seen_ts = sighting.ts, last_seen_ip = sighting.ip
    from unnest(${devices}, ${times}, ${ips}) as sighting (device, ts, ip)
    where device.device = sighting.device and device.last_seen_ts < sighting.ts
  `.execute(db)
}

/** Users who were seen in the last so many ms before anybody was seen last, with when; the last first. */
export async function usersSeenLast(
  db: Kysely<Tables>,
  within: number,
  limit: number,
): Promise<{ userId: string; lastSeenTs: number }[]> {
  const { rows } = await sql<{ user_id: string; last_seen_ts: number }>`
    select user_id, max(last_seen_ts) as last_seen_ts from device
    where last_seen_ts > (select max(last_seen_ts) from device) - ${within}::bigint
    group by user_id order by 2 desc limit ${limit}
  `.execute(db)
  return rows.map((row) => ({ userId: row.user_id, lastSeenTs: row.last_seen_ts }))
}
