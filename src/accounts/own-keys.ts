/**
 * Keys of local users' devices in the form every API answers with: JSON texts by user and device. Keys are texts already
 * and go into the answer as they are.
 */
import type { Kysely } from 'kysely'
import { claimKeys, deviceKeysOf, forgetKeyCounts, type Claim, type ClaimedKey } from '../store/device-keys.js'
import type { Tables } from '../store/tables.js'

export interface NamedDeviceKeys {
  readonly deviceId: string
  readonly displayName: string | undefined
  /** Canonical JSON of the signed device keys, without `unsigned`. */
  readonly body: string
}

/**
 * `device_keys`, by user: the devices that were asked for, all for an empty list. A user who has no such devices is there
 * with none: whoever asked then knows that there are none.
 */
export async function queryOwnKeys(
  db: Kysely<Tables>,
  asked: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string>> {
  const keys = await deviceKeysOf(db, [...asked.keys()])
  return new Map(Array.from(asked, ([userId, ids]) => [userId, devicesText(keys.get(userId) ?? [], ids)]))
}

/** An empty list asks for all. */
export function devicesText(devices: readonly NamedDeviceKeys[], asked: readonly string[]): string {
  const wanted = new Set(asked)
  const texts = devices
    .filter(({ deviceId }) => wanted.size === 0 || wanted.has(deviceId))
    .map((device) => `${JSON.stringify(device.deviceId)}:${withName(device)}`)
  return `{${texts.join(',')}}`
}

const withName = ({ body, displayName }: NamedDeviceKeys): string =>
  `${body.slice(0, -1)},"unsigned":${JSON.stringify({ device_display_name: displayName })}}`

/** By user and device, the algorithm that is asked for. */
export type AskedKeys = ReadonlyMap<string, Readonly<Record<string, string>>>

/** `one_time_keys`, by user: who has none is absent. A key is given out once. */
export async function claimOwnKeys(db: Kysely<Tables>, asked: AskedKeys, nowTs: number): Promise<Map<string, string>> {
  const claims = Array.from(asked).flatMap(([userId, devices]) => claimsOf(userId, devices))
  const claimed = await db.transaction().execute((trx) => claimKeys(trx, claims, nowTs))
  forgetKeyCounts(
    db,
    claimed.map(({ device }) => device),
  )
  return claimedTexts(claimed)
}

/** No device and no algorithm has U+0000 in its name, and Postgres would refuse to look. */
const claimsOf = (userId: string, devices: Readonly<Record<string, string>>): Claim[] =>
  Object.entries(devices)
    .map(([deviceId, algorithm]) => ({ userId, deviceId, algorithm }))
    .filter(({ deviceId, algorithm }) => !deviceId.includes('\0') && !algorithm.includes('\0'))

/** By user; of each device one key. */
export function claimedTexts(claimed: readonly Omit<ClaimedKey, 'device'>[]): Map<string, string> {
  const byUser = new Map<string, string[]>()
  for (const { userId, deviceId, algorithm, keyId, body } of claimed) {
    const device = `${JSON.stringify(deviceId)}:{${JSON.stringify(`${algorithm}:${keyId}`)}:${body}}`
    const devices = byUser.get(userId)
    if (devices === undefined) byUser.set(userId, [device])
    else devices.push(device)
  }
  return new Map(Array.from(byUser, ([userId, devices]) => [userId, `{${devices.join(',')}}`]))
}

/** An object of texts by name. */
export const objectText = (texts: ReadonlyMap<string, string>): string =>
  `{${Array.from(texts, ([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`
