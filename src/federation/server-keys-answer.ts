import { decodeBase64 } from '../protocol/base64.js'
import { canonicalJson } from '../protocol/canonical-json.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { verifyJson } from '../protocol/signing.js'
import { parseExactJson } from '../protocol/strict-json.js'
import { isKeyId } from '../protocol/x-matrix.js'
import type { KeyAnswer, PublishedKey } from '../store/server-keys.js'

const DAY = 24 * 3_600_000
/** "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid." */
const LONGEST_VALIDITY = 7 * DAY

/** Each costs a verification. A server has one, or two while it changes them. */
const MAX_KEYS = 20
const MAX_OLD_KEYS = 100

/**
 * Reads the answer to GET /_matrix/key/v2/server. Keys that did not sign it are left out: whoever lists one must have it.
 * Throws an `Error` that says what is wrong. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
 */
export function readKeyAnswer(text: string, serverName: string, nowTs: number): KeyAnswer {
  const answer = parseExactJson(text)
  if (!isObject(answer)) throw new Error('the answer is not a JSON object')
  if (own(answer, 'server_name') !== serverName) throw new Error('the answer is of another server')
  const published = timestamp(answer, 'valid_until_ts')
  if (published === undefined) throw new Error('the answer has no valid_until_ts')

  const validUntil = Math.min(published, nowTs + LONGEST_VALIDITY)
  const current = entries(own(answer, 'verify_keys'), MAX_KEYS)
    .map(([keyId, stated]) => readKey(keyId, stated, validUntil))
    .filter((key) => key !== undefined)
    .filter(({ keyId, key }) => verifyJson(answer, serverName, keyId, key))
  if (current.length === 0) throw new Error('the answer is not signed by a key that it lists')

  const old = entries(own(answer, 'old_verify_keys'), MAX_OLD_KEYS)
    .filter(([keyId]) => !current.some((key) => key.keyId === keyId))
    .map(([keyId, stated]) => readOldKey(keyId, stated, nowTs))
    .filter((key) => key !== undefined)
  return { serverName, fetchedTs: nowTs, validUntil, keys: [...current, ...old], body: bodyOf(answer) }
}

/** Of `unsigned` nobody vouches for anything. Throws where `signatures` hold what has no canonical form. */
const bodyOf = (answer: JsonObject): string => canonicalJson({ ...answer, unsigned: undefined })

function entries(keys: Json | undefined, limit: number): [string, JsonObject][] {
  if (!isObject(keys)) return []
  return Object.entries(keys)
    .filter((entry): entry is [string, JsonObject] => isKeyId(entry[0]) && isObject(entry[1]))
    .slice(0, limit)
}

function readKey(keyId: string, stated: JsonObject, validUntil: number): PublishedKey | undefined {
  const key = decodeBase64(ownString(stated, 'key') ?? '')
  return key?.length === 32 ? { keyId, key, validUntil, isOld: false } : undefined
}

/** A key that is said to be old has expired by now, whatever its time. */
function readOldKey(keyId: string, stated: JsonObject, nowTs: number): PublishedKey | undefined {
  const expired = timestamp(stated, 'expired_ts')
  const key = expired === undefined ? undefined : readKey(keyId, stated, Math.min(expired, nowTs))
  return key && { ...key, isOld: true }
}

function timestamp(object: JsonObject, name: string): number | undefined {
  const value = own(object, name)
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
