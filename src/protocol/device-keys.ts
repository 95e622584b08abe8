/**
 * Keys of other servers' users, as those servers say them: checked by shape, since a client that is given something else
 * fails (CVE-2025-61672), and written as canonical JSON, which is what their signatures are over. The signatures are for
 * clients to judge.
 */
import { canonicalJson, CanonicalJsonError } from './canonical-json.js'
import { isObject, own, ownString, type Json, type JsonObject } from './json.js'

/** As much as our own users may upload. */
export const MAX_DEVICE_KEYS_BYTES = 32 * 1024

/** A device id that we can keep. */
export const isDeviceId = (id: unknown): id is string =>
  typeof id === 'string' && id.length > 0 && id.length <= 255 && !id.includes('\0')

/** The text of a device's keys without `unsigned`; undefined for what is not the keys of this device. */
export function deviceKeysText(value: Json | undefined, userId: string, deviceId: string): string | undefined {
  if (!isObject(value)) return undefined
  if (own(value, 'user_id') !== userId || own(value, 'device_id') !== deviceId) return undefined
  const algorithms = own(value, 'algorithms')
  if (!Array.isArray(algorithms) || !algorithms.every((algorithm) => typeof algorithm === 'string')) return undefined
  if (!isMapOf(own(value, 'keys'), isString) || !isSignatures(own(value, 'signatures'))) return undefined
  return boundedText(value)
}

/** The same of a master or self-signing key. */
export function crossSigningKeyText(
  value: Json | undefined,
  userId: string,
  usage: 'master' | 'self_signing',
): string | undefined {
  if (!isObject(value) || own(value, 'user_id') !== userId) return undefined
  const usages = own(value, 'usage')
  if (!Array.isArray(usages) || !usages.includes(usage) || !usages.every(isString)) return undefined
  const keys = own(value, 'keys')
  if (!isMapOf(keys, isString) || Object.keys(keys).length !== 1) return undefined
  const signatures = own(value, 'signatures')
  if (signatures !== undefined && !isSignatures(signatures)) return undefined
  return boundedText(value)
}

/** The text of a one-time or fallback key: a string, or an object with the key and signatures. */
export function claimedKeyText(value: Json | undefined): string | undefined {
  if (typeof value === 'string') return boundedText(value)
  if (!isObject(value) || ownString(value, 'key') === undefined) return undefined
  const signatures = own(value, 'signatures')
  return signatures !== undefined && !isSignatures(signatures) ? undefined : boundedText(value)
}

const isString = (value: unknown): value is string => typeof value === 'string'

const isMapOf = (value: Json | undefined, is: (value: Json | undefined) => boolean): value is JsonObject =>
  isObject(value) && Object.values(value).every(is)

const isSignatures = (value: Json | undefined): boolean => isMapOf(value, (ofUser) => isMapOf(ofUser, isString))

function boundedText(value: JsonObject | string): string | undefined {
  try {
    const text = canonicalJson(typeof value === 'string' ? value : { ...value, unsigned: undefined })
    return Buffer.byteLength(text) > MAX_DEVICE_KEYS_BYTES ? undefined : text
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return undefined
    throw cause
  }
}
