/**
 * Devices of users of other servers, for as long as they share a room with one of ours. A list is as its server says it
 * (fresh), or to be asked for (stale: `retry_ts`). It becomes stale by an update that does not follow the one it stands at.
 *
 * A change of a list that was known is noted for the log in the transaction that makes it (device-lists.ts), so that
 * clients hear of it. An update that comes while the list is being asked for makes the row's version grow: what was asked
 * may be older, and the list stays stale.
 */
import { sql, type Kysely, type Transaction } from 'kysely'
import { serverNameOf } from '../protocol/identifiers.js'
import type { Position } from '../protocol/numbers.js'
import { noteDeviceListChange } from './device-lists.js'
import { serverOf } from './memberships.js'
import type { Tables } from './tables.js'

export interface RemoteDeviceTables {
  remote_device_list: {
    user_id: string
    server: string
    is_known: boolean
    stream_id: number | null
    asked_position: Position
    master_key: string | null
    self_signing_key: string | null
    version: number
    retry_ts: number | null
    attempts: number
  }
  remote_device: { user_id: string; device_id: string; keys: string; display_name: string | null }
}

export interface RemoteDevice {
  readonly deviceId: string
  readonly displayName: string | undefined
  /** Canonical JSON of the signed device keys. */
  readonly body: string
}

/** Devices with keys, and the user's own keys: canonical JSON. */
export interface RemoteDeviceList {
  readonly devices: readonly RemoteDevice[]
  readonly masterKey: string | undefined
  readonly selfSigningKey: string | undefined
}

/**
 * The lists that are fresh: had from the server, and of users with whom a room has been shared ever since, so that it has
 * sent what changed. Other users are absent.
 */
export async function freshLists(
  db: Kysely<Tables>,
  serverName: string,
  userIds: readonly string[],
): Promise<Map<string, RemoteDeviceList>> {
  const lists = await db
    .selectFrom('remote_device_list')
    .select(['user_id', 'master_key', 'self_signing_key'])
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .where('retry_ts', 'is', null)
    .where(
      sql<boolean>`exists (
        select from membership theirs join membership ours using (room)
        where theirs.user_id = remote_device_list.user_id and theirs.membership = 'join' and ours.membership = 'join'
          and ${serverOf('ours.user_id')} = ${serverName}
          and greatest(theirs.position, ours.position) <= asked_position)`,
    )
    .execute()
  const devices = await devicesOf(
    db,
    lists.map((row) => row.user_id),
  )
  return new Map(lists.map((row) => [row.user_id, listOf(row, devices.get(row.user_id) ?? [])]))
}

const listOf = (
  row: { master_key: string | null; self_signing_key: string | null },
  devices: readonly RemoteDevice[],
): RemoteDeviceList => ({
  devices,
  masterKey: row.master_key ?? undefined,
  selfSigningKey: row.self_signing_key ?? undefined,
})

async function devicesOf(db: Kysely<Tables>, userIds: readonly string[]): Promise<Map<string, RemoteDevice[]>> {
  const devices = new Map<string, RemoteDevice[]>()
  if (userIds.length === 0) return devices
  const rows = await db
    .selectFrom('remote_device')
    .selectAll()
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .orderBy('user_id')
    .orderBy('device_id')
    .execute()
  for (const row of rows) {
    const device = { deviceId: row.device_id, displayName: row.display_name ?? undefined, body: row.keys }
    const ofUser = devices.get(row.user_id)
    if (ofUser === undefined) devices.set(row.user_id, [device])
    else ofUser.push(device)
  }
  return devices
}

/**
 * Follows these users, who have no fresh list, from now on: they are asked for at that time (ms), if they are not told
 * before. Resolves with the versions of their lists.
 */
export async function follow(
  db: Kysely<Tables>,
  userIds: readonly string[],
  retryTs: number,
): Promise<Map<string, number>> {
  if (userIds.length === 0) return new Map()
  const rows = userIds.map((userId) => ({ userId, server: serverNameOf(userId) }))
  const { rows: stale } = await sql<{ user_id: string; version: number }>`
    insert into remote_device_list (user_id, server, retry_ts)
    select "userId", server, ${retryTs} from json_to_recordset(${JSON.stringify(rows)}) as x ("userId" text, server text)
    order by 1
    on conflict (user_id) do update set retry_ts = least(remote_device_list.retry_ts, excluded.retry_ts)
    returning user_id, version
  `.execute(db)
  return new Map(stale.map((row) => [row.user_id, row.version]))
}

/** What a server said of one user, by `GET /user/devices` with its stream id, or by `POST /user/keys/query` without. */
export interface Told {
  readonly userId: string
  readonly list: RemoteDeviceList
  readonly streamId: number | undefined
  /** The version of the row, and the position of the log, when the server was asked. */
  readonly asOf: { readonly version: number; readonly position: Position }
}

/**
 * Keeps what a server said, unless something newer is here. With a stream id the list is fresh from then on, if nothing
 * came meanwhile; without one it is to be asked for at once. True when clients have to hear of it: it is another list than
 * the one that was known, or the first since a client asked in vain.
 */
export async function putList(trx: Transaction<Tables>, told: Told, nowTs: number): Promise<boolean> {
  const { userId, list, streamId, asOf } = told
  const row = await lockedList(trx, userId)
  if (row === undefined || row.retry_ts === null) return false
  const isCurrent = row.version === asOf.version
  if (streamId === undefined && !isCurrent) return false
  const before = listOf(row, (await devicesOf(trx, [userId])).get(userId) ?? [])
  const isOther = !areEqual(before, list)
  const isNews = row.is_known ? isOther : streamId !== undefined
  if (isOther) await putDevices(trx, userId, list.devices)
  await trx
    .updateTable('remote_device_list')
    .set({
      is_known: true,
      master_key: list.masterKey ?? null,
      self_signing_key: list.selfSigningKey ?? null,
      retry_ts: streamId !== undefined && isCurrent ? null : nowTs,
      ...(streamId === undefined ? {} : { stream_id: streamId, asked_position: asOf.position, attempts: 0 }),
    })
    .where('user_id', '=', userId)
    .execute()
  if (isNews) await noteDeviceListChange(trx, userId, nowTs)
  return isNews
}

const lockedList = (trx: Transaction<Tables>, userId: string) =>
  trx.selectFrom('remote_device_list').selectAll().where('user_id', '=', userId).forUpdate().executeTakeFirst()

async function putDevices(trx: Transaction<Tables>, userId: string, devices: readonly RemoteDevice[]): Promise<void> {
  await trx.deleteFrom('remote_device').where('user_id', '=', userId).execute()
  await sql`
    insert into remote_device (user_id, device_id, keys, display_name)
    select ${userId}, "deviceId", body, "displayName"
    from json_to_recordset(${JSON.stringify(devices)}) as x ("deviceId" text, body text, "displayName" text)
  `.execute(trx)
}

const areEqual = (left: RemoteDeviceList, right: RemoteDeviceList): boolean => textOf(left) === textOf(right)

const textOf = ({ devices, masterKey, selfSigningKey }: RemoteDeviceList): string =>
  JSON.stringify([
    masterKey ?? null,
    selfSigningKey ?? null,
    devices.map(({ deviceId, displayName, body }) => [deviceId, displayName ?? null, body]).sort(byFirst),
  ])

const byFirst = ([left]: unknown[], [right]: unknown[]): number => ((left as string) < (right as string) ? -1 : 1)

/** An `m.device_list_update`. */
export interface DeviceUpdate {
  readonly userId: string
  readonly deviceId: string
  readonly streamId: number
  readonly prevIds: readonly number[]
  readonly change:
    | { readonly kind: 'deleted' }
    /** `body` undefined: the keys were not said, and are what they were. */
    | { readonly kind: 'is'; readonly displayName: string | undefined; readonly body: string | undefined }
}

/**
 * 'not followed': nobody here holds the list. 'stale': it is to be asked for. 'known': the list stands at it already.
 * 'changed': it was applied, and noted for the log.
 */
export type Applied = 'not followed' | 'stale' | 'known' | 'changed'

/** Applies an update to the list it follows, or makes the list stale. */
export async function applyUpdate(trx: Transaction<Tables>, update: DeviceUpdate, nowTs: number): Promise<Applied> {
  const { userId, streamId, prevIds } = update
  const row = await lockedList(trx, userId)
  if (row === undefined) return 'not followed'
  if (row.retry_ts === null && row.stream_id === streamId) return 'known'
  const follows =
    row.stream_id !== null &&
    streamId > row.stream_id &&
    prevIds.length > 0 &&
    prevIds.every((id) => id === row.stream_id)
  if (row.retry_ts !== null || !follows) {
    await makeStale(trx, userId, nowTs)
    return 'stale'
  }
  await changeDevice(trx, update)
  await sql`
    update remote_device_list set stream_id = ${streamId}, version = version + 1 where user_id = ${userId}
  `.execute(trx)
  await noteDeviceListChange(trx, userId, nowTs)
  return 'changed'
}

/** The server is there: a list that waits for its next attempt waits no longer. */
const makeStale = (trx: Transaction<Tables>, userId: string, nowTs: number) =>
  sql`
    update remote_device_list set version = version + 1, retry_ts = least(retry_ts, ${nowTs}::bigint)
    where user_id = ${userId}
  `.execute(trx)

async function changeDevice(trx: Transaction<Tables>, { userId, deviceId, change }: DeviceUpdate): Promise<void> {
  if (change.kind === 'deleted') {
    await trx.deleteFrom('remote_device').where('user_id', '=', userId).where('device_id', '=', deviceId).execute()
  } else if (change.body === undefined) {
    await trx
      .updateTable('remote_device')
      .set({ display_name: change.displayName ?? null })
      .where('user_id', '=', userId)
      .where('device_id', '=', deviceId)
      .execute()
  } else {
    const said = { keys: change.body, display_name: change.displayName ?? null }
    await trx
      .insertInto('remote_device')
      .values({ user_id: userId, device_id: deviceId, ...said })
      .onConflict((conflict) => conflict.columns(['user_id', 'device_id']).doUpdateSet(said))
      .execute()
  }
}

/** What an `m.signing_key_update` says; a key that is not in it stays. Canonical JSON. */
export interface SigningKeyUpdate {
  readonly userId: string
  readonly masterKey: string | undefined
  readonly selfSigningKey: string | undefined
}

export async function applySigningKeys(
  trx: Transaction<Tables>,
  { userId, masterKey, selfSigningKey }: SigningKeyUpdate,
  nowTs: number,
): Promise<Applied> {
  const row = await lockedList(trx, userId)
  if (row === undefined) return 'not followed'
  if (row.retry_ts !== null) {
    await makeStale(trx, userId, nowTs)
    return 'stale'
  }
  const after = { master_key: masterKey ?? row.master_key, self_signing_key: selfSigningKey ?? row.self_signing_key }
  if (after.master_key === row.master_key && after.self_signing_key === row.self_signing_key) return 'known'
  await trx
    .updateTable('remote_device_list')
    .set((set) => ({ ...after, version: set('version', '+', 1) }))
    .where('user_id', '=', userId)
    .execute()
  await noteDeviceListChange(trx, userId, nowTs)
  return 'changed'
}

export interface DueList {
  readonly userId: string
  readonly server: string
  readonly version: number
  readonly attempts: number
}

/** Stale lists whose time has come, for whoever takes them: nobody else gets them until then (ms). */
export async function takeDueLists(
  db: Kysely<Tables>,
  { nowTs, until, limit }: { nowTs: number; until: number; limit: number },
): Promise<DueList[]> {
  const { rows } = await sql<{ user_id: string; server: string; version: number; attempts: number }>`
    update remote_device_list set retry_ts = ${until} where user_id = any(array(
      select user_id from remote_device_list where retry_ts <= ${nowTs} order by retry_ts limit ${limit}
      for update skip locked))
    returning user_id, server, version, attempts
  `.execute(db)
  return rows.map(({ user_id, ...row }) => ({ userId: user_id, ...row }))
}

/** One list could not be had, or none of a server: until then (ms) they are left alone. */
export async function postponeLists(
  db: Kysely<Tables>,
  whose: { readonly userId: string } | { readonly server: string },
  until: number,
): Promise<void> {
  const which = 'userId' in whose ? sql`user_id = ${whose.userId}` : sql`server = ${whose.server}`
  await sql`
    update remote_device_list set retry_ts = greatest(retry_ts, ${until}::bigint), attempts = attempts + 1
    where ${which} and retry_ts is not null
  `.execute(db)
}

/** Those of the users who are in a room with a user of this server. */
export async function sharingRooms(
  db: Kysely<Tables>,
  serverName: string,
  userIds: readonly string[],
): Promise<Set<string>> {
  if (userIds.length === 0) return new Set()
  const { rows } = await sql<{ user_id: string }>`
    select distinct user_id from membership theirs
    where user_id = any(${[...userIds]}) and membership = 'join' and exists (
      select from membership ours where ours.room = theirs.room and ours.membership = 'join'
        and ${serverOf('ours.user_id')} = ${serverName})
  `.execute(db)
  return new Set(rows.map((row) => row.user_id))
}
