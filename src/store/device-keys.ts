/**
 * Keys of local users' devices: identity keys, one-time keys and fallback keys, as JSON texts that nobody here looks into.
 * https://spec.matrix.org/v1.19/client-server-api/#key-distribution
 *
 * A one-time key is given out once. A claimed key stays as a row for a week, so that a client that repeats an upload whose
 * answer it did not hear does not bring the key back.
 */
import { LRUCache } from 'lru-cache'
import { sql, type Kysely, type Transaction } from 'kysely'
import type { DeviceNumber } from '../protocol/numbers.js'
import type { Tables } from './tables.js'

export interface DeviceKeyTables {
  device_key: { device: DeviceNumber; body: string }
  one_time_key: {
    device: DeviceNumber
    algorithm: string
    key_id: string
    number: number
    body: string
    claimed_ts: number | null
  }
  fallback_key: { device: DeviceNumber; algorithm: string; key_id: string; body: string; is_used: boolean }
}

/** A one-time or fallback key, named `algorithm:keyId` on the wire. */
export interface NamedKey {
  readonly algorithm: string
  readonly keyId: string
  /** Canonical JSON. */
  readonly body: string
}

export interface KeyUpload {
  /** Canonical JSON. */
  readonly deviceKeys: string | undefined
  readonly oneTimeKeys: readonly NamedKey[]
  /** One for each algorithm at most. */
  readonly fallbackKeys: readonly NamedKey[]
}

/** So many unclaimed keys a device may have; clients keep 50 or 100. */
export const MAX_ONE_TIME_KEYS = 500

/**
 * 'key exists': a one-time key of this name was uploaded with another value; 'too many': the device would have more than
 * it may. In both cases the transaction must be rolled back.
 */
export async function putKeys(
  trx: Transaction<Tables>,
  device: DeviceNumber,
  { deviceKeys, oneTimeKeys, fallbackKeys }: KeyUpload,
): Promise<'done' | 'key exists' | 'too many'> {
  if (deviceKeys !== undefined) {
    await trx
      .insertInto('device_key')
      .values({ device, body: deviceKeys })
      .onConflict((conflict) => conflict.column('device').doUpdateSet({ body: deviceKeys }))
      .execute()
  }
  if (fallbackKeys.length > 0) await putFallbackKeys(trx, device, fallbackKeys)
  return oneTimeKeys.length === 0 ? 'done' : putOneTimeKeys(trx, device, oneTimeKeys)
}

async function putFallbackKeys(trx: Transaction<Tables>, device: DeviceNumber, keys: readonly NamedKey[]) {
  // The same key again is a repeated upload: whether it was used stays known.
  await sql`
    insert into fallback_key (device, algorithm, key_id, body)
    select ${device}, algorithm, "keyId", body
    from json_to_recordset(${JSON.stringify(keys)}) as x (algorithm text, "keyId" text, body text)
    on conflict (device, algorithm) do update set key_id = excluded.key_id, body = excluded.body, is_used = false
    where fallback_key.key_id <> excluded.key_id or fallback_key.body <> excluded.body
  `.execute(trx)
}

async function putOneTimeKeys(trx: Transaction<Tables>, device: DeviceNumber, keys: readonly NamedKey[]) {
  const input = sql`json_to_recordset(${JSON.stringify(keys)}) as x (algorithm text, "keyId" text, body text)`
  await sql`
    insert into one_time_key (device, algorithm, key_id, body) select ${device}, algorithm, "keyId", body from ${input}
    on conflict do nothing
  `.execute(trx)
  const { rows } = await sql<{ others: number; unclaimed: number }>`
    select
      (select count(*) from ${input} join one_time_key k
       on k.device = ${device} and k.algorithm = x.algorithm and k.key_id = x."keyId" where k.body <> x.body) as others,
      (select count(*) from one_time_key where device = ${device} and claimed_ts is null) as unclaimed
  `.execute(trx)
  const { others, unclaimed } = rows[0]!
  if (others > 0) return 'key exists'
  return unclaimed > MAX_ONE_TIME_KEYS ? 'too many' : 'done'
}

export interface DeviceKeys {
  readonly deviceId: string
  readonly displayName: string | undefined
  /** Canonical JSON. */
  readonly body: string
}

/** The devices of users that have identity keys. Users without are absent. */
export async function deviceKeysOf(
  db: Kysely<Tables>,
  userIds: readonly string[],
): Promise<Map<string, readonly DeviceKeys[]>> {
  const keys = new Map<string, DeviceKeys[]>()
  if (userIds.length === 0) return keys
  const rows = await db
    .selectFrom('device')
    .innerJoin('device_key', 'device_key.device', 'device.device')
    .select(['user_id', 'device_id', 'display_name', 'body'])
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .orderBy('device.device')
    .execute()
  for (const { user_id, device_id, display_name, body } of rows) {
    const device = { deviceId: device_id, displayName: display_name ?? undefined, body }
    const ofUser = keys.get(user_id)
    if (ofUser === undefined) keys.set(user_id, [device])
    else ofUser.push(device)
  }
  return keys
}

export interface Claim {
  readonly userId: string
  readonly deviceId: string
  readonly algorithm: string
}

export interface ClaimedKey extends Claim, NamedKey {
  readonly device: DeviceNumber
}

/**
 * Takes a one-time key of each device, the oldest first, or gives its fallback key where there is none. Each device at
 * most once. Devices that have neither are absent. Keys that others are claiming at this moment are passed over and not
 * waited for.
 */
export async function claimKeys(
  trx: Transaction<Tables>,
  claims: readonly Claim[],
  nowTs: number,
): Promise<ClaimedKey[]> {
  const asked = sql`
    asked as materialized (
      select device, user_id, device_id, algorithm
      from json_to_recordset(${JSON.stringify(claims)}) as x ("userId" text, "deviceId" text, algorithm text),
        -- lateral and limited: an index look-up each; as a join it was planned as a scan of the whole table
        lateral (select * from device where user_id = "userId" and device_id = "deviceId" limit 1) as its
    )`
  const oneTime = await sql<ClaimedRow>`
    with ${asked}, oldest as materialized (
      select asked.user_id, asked.device_id, k.device, k.algorithm, k.key_id
      from asked cross join lateral (
        select * from one_time_key
        where device = asked.device and algorithm = asked.algorithm and claimed_ts is null
        order by number limit 1 for update skip locked
      ) k
    )
    update one_time_key k set claimed_ts = ${nowTs} from oldest
    where k.device = oldest.device and k.algorithm = oldest.algorithm and k.key_id = oldest.key_id
    returning user_id, device_id, k.device, k.algorithm, k.key_id, k.body
  `.execute(trx)
  const served = oneTime.rows.map((row) => row.device)
  if (served.length === claims.length) return oneTime.rows.map(claimedKey)
  const fallback = await sql<ClaimedRow>`
    with ${asked}
    update fallback_key k set is_used = true from asked
    where k.device = asked.device and k.algorithm = asked.algorithm and k.device <> all(${served}::int[])
    returning user_id, device_id, k.device, k.algorithm, k.key_id, k.body
  `.execute(trx)
  return [...oneTime.rows, ...fallback.rows].map(claimedKey)
}

interface ClaimedRow {
  user_id: string
  device_id: string
  device: DeviceNumber
  algorithm: string
  key_id: string
  body: string
}

const claimedKey = (row: ClaimedRow): ClaimedKey => ({
  userId: row.user_id,
  deviceId: row.device_id,
  device: row.device,
  algorithm: row.algorithm,
  keyId: row.key_id,
  body: row.body,
})

/** What a device is told of its keys with every sync. */
export interface KeyCounts {
  /** Unclaimed keys by algorithm; an algorithm without any is absent. */
  readonly oneTimeKeys: Readonly<Record<string, number>>
  /** Algorithms whose fallback key was not given out yet. */
  readonly unusedFallback: readonly string[]
}

/**
 * By database, since tests run several servers in one process. Another process that claims a key does not tell us: what it
 * claimed is seen when the entry has grown old. Holding the promise, an entry that is forgotten while it is read stays so.
 */
const counts = new WeakMap<Kysely<Tables>, LRUCache<DeviceNumber, Promise<KeyCounts>>>()

/** About 200 bytes each; a minute is how late a client may learn what another process claimed. */
const newCache = () => new LRUCache<DeviceNumber, Promise<KeyCounts>>({ max: 20_000, ttl: 60_000 })

/** Asked by every sync, and mostly answered from memory. */
export function keyCounts(db: Kysely<Tables>, device: DeviceNumber): Promise<KeyCounts> {
  let cache = counts.get(db)
  if (cache === undefined) counts.set(db, (cache = newCache()))
  const known = cache.get(device)
  if (known !== undefined) return known
  const read = readKeyCounts(db, device)
  cache.set(device, read)
  read.catch(() => cache.peek(device) === read && cache.delete(device))
  return read
}

/** After the commit of an upload or a claim. `db` is the one that is read from, not the transaction. */
export function forgetKeyCounts(db: Kysely<Tables>, devices: Iterable<DeviceNumber>): void {
  const cache = counts.get(db)
  for (const device of devices) cache?.delete(device)
}

async function readKeyCounts(db: Kysely<Tables>, device: DeviceNumber): Promise<KeyCounts> {
  const { rows } = await sql<{ algorithm: string; unclaimed: number; unused: boolean }>`
    select algorithm, count(*) as unclaimed, false as unused
    from one_time_key where device = ${device} and claimed_ts is null group by algorithm
    union all
    select algorithm, 0, true from fallback_key where device = ${device} and not is_used
  `.execute(db)
  return {
    oneTimeKeys: Object.fromEntries(rows.filter((row) => !row.unused).map((row) => [row.algorithm, row.unclaimed])),
    unusedFallback: rows.filter((row) => row.unused).map((row) => row.algorithm),
  }
}
