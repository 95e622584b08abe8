/**
 * What other servers say of their users' keys, read with care: only users and devices that were asked for, only keys of
 * the shape the specification gives them. What else is in an answer is passed over.
 * https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
 */
import type { ClaimedKey } from '../store/device-keys.js'
import { claimedKeyText, crossSigningKeyText, deviceKeysText, isDeviceId } from '../protocol/device-keys.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import type { RemoteDevice, RemoteDeviceList } from '../store/remote-devices.js'

/** Of one user; what is beyond is cut off. */
const MAX_DEVICES = 1_000

/** The answer to `POST /user/keys/query`. A user of whom it says nothing is absent. */
export function readQueriedKeys(answer: JsonObject, userIds: readonly string[]): Map<string, RemoteDeviceList> {
  const lists = new Map<string, RemoteDeviceList>()
  for (const userId of userIds) {
    const devices = own(objectIn(answer, 'device_keys'), userId)
    if (!isObject(devices)) continue
    const read = Object.entries(devices)
      .slice(0, MAX_DEVICES)
      .map(([deviceId, keys]) => readDevice(userId, deviceId, keys, displayNameIn(keys)))
    lists.set(userId, {
      devices: read.filter((device) => device !== undefined),
      masterKey: crossSigningKeyText(own(objectIn(answer, 'master_keys'), userId), userId, 'master'),
      selfSigningKey: crossSigningKeyText(own(objectIn(answer, 'self_signing_keys'), userId), userId, 'self_signing'),
    })
  }
  return lists
}

/** The answer to `GET /user/devices/{userId}`; undefined when it is none. */
export function readUserDevices(
  answer: JsonObject,
  userId: string,
): { list: RemoteDeviceList; streamId: number } | undefined {
  const [devices, streamId] = [own(answer, 'devices'), own(answer, 'stream_id')]
  if (own(answer, 'user_id') !== userId || !Array.isArray(devices) || !isStreamId(streamId)) return undefined
  const read = new Map<string, RemoteDevice>()
  for (const said of (devices as readonly Json[]).slice(0, MAX_DEVICES)) {
    const deviceId = isObject(said) ? own(said, 'device_id') : undefined
    if (!isObject(said) || !isDeviceId(deviceId)) continue
    const device = readDevice(userId, deviceId, own(said, 'keys'), displayName(own(said, 'device_display_name')))
    if (device !== undefined) read.set(deviceId, device)
  }
  const masterKey = crossSigningKeyText(own(answer, 'master_key'), userId, 'master')
  const selfSigningKey = crossSigningKeyText(own(answer, 'self_signing_key'), userId, 'self_signing')
  return { list: { devices: [...read.values()], masterKey, selfSigningKey }, streamId }
}

function readDevice(
  userId: string,
  deviceId: string,
  keys: Json | undefined,
  name: string | undefined,
): RemoteDevice | undefined {
  const body = isDeviceId(deviceId) ? deviceKeysText(keys, userId, deviceId) : undefined
  return body === undefined ? undefined : { deviceId, displayName: name, body }
}

/** The answer to `POST /user/keys/claim`: of each device that was asked for, one key of the algorithm that was. */
export function readClaimedKeys(
  answer: JsonObject,
  asked: ReadonlyMap<string, Readonly<Record<string, string>>>,
): Omit<ClaimedKey, 'device'>[] {
  const claimed: Omit<ClaimedKey, 'device'>[] = []
  const users = objectIn(answer, 'one_time_keys')
  for (const [userId, devices] of asked) {
    for (const [deviceId, algorithm] of Object.entries(devices)) {
      for (const [name, key] of Object.entries(objectIn(objectIn(users, userId), deviceId))) {
        const body = name.startsWith(`${algorithm}:`) && name.length <= 255 ? claimedKeyText(key) : undefined
        if (body === undefined) continue
        claimed.push({ userId, deviceId, algorithm, keyId: name.slice(algorithm.length + 1), body })
        break
      }
    }
  }
  return claimed
}

export const isStreamId = (value: Json | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value)

/** A name that Postgres keeps, of a length somebody may have meant. */
export const displayName = (value: Json | undefined): string | undefined =>
  typeof value === 'string' && value.length <= 1_000 && !value.includes('\0') ? value : undefined

function displayNameIn(keys: Json | undefined): string | undefined {
  const unsigned = isObject(keys) ? own(keys, 'unsigned') : undefined
  return isObject(unsigned) ? displayName(ownString(unsigned, 'device_display_name')) : undefined
}

const nothing: JsonObject = {}

function objectIn(object: JsonObject, key: string): JsonObject {
  const value = own(object, key)
  return isObject(value) ? value : nothing
}
