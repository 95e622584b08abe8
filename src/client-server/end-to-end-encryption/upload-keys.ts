import { Type, type Static } from 'typebox'
import { deviceId, mapOf, userId } from '../../http/fields.js'
import type { Requester } from '../../accounts/requester.js'
import { decodeBase64 } from '../../protocol/base64.js'
import { canonicalJson, CanonicalJsonError } from '../../protocol/canonical-json.js'
import { ownString, type Json, type JsonObject } from '../../protocol/json.js'
import { badJson, invalidParam, MatrixError, tooLarge, unknown, unknownToken } from '../../protocol/matrix-error.js'
import { verifyJson } from '../../protocol/signing.js'
import {
  forgetKeyCounts,
  keyCounts,
  MAX_ONE_TIME_KEYS,
  putKeys,
  type KeyUpload,
  type NamedKey,
} from '../../store/device-keys.js'
import { noteDeviceListChange } from '../../store/device-lists.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'

/**
 * POST /_matrix/client/v3/keys/upload
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
 *
 * Device keys must be those of the requester's device and signed by the Ed25519 key among them: everybody who is to encrypt
 * for the device would refuse others. Everything is kept as canonical JSON, which is what its signatures are over.
 * All of the keys are stored or none is.
 */

const signatures = mapOf(mapOf(Type.String()))

const deviceKeys = Type.Object({
  user_id: userId,
  device_id: deviceId,
  algorithms: Type.Array(Type.String()),
  keys: mapOf(Type.String()),
  signatures,
})

const keyObject = Type.Object({ key: Type.String(), signatures })
const namedKeys = mapOf(Type.Union([Type.String(), keyObject]))

const body = Type.Object({
  device_keys: Type.Optional(deviceKeys),
  one_time_keys: Type.Optional(namedKeys),
  fallback_keys: Type.Optional(namedKeys),
})

export const uploadKeys = endpoint({
  operationId: 'uploadKeys',
  method: 'post',
  path: '/_matrix/client/v3/keys/upload',
  auth: 'access-token',
  body,

  async handle(services, { requester, body }) {
    const upload = {
      deviceKeys: body.device_keys && checkedDeviceKeys(requester, body.device_keys),
      oneTimeKeys: namedKeysOf(body.one_time_keys ?? {}),
      fallbackKeys: fallbackKeysOf(body.fallback_keys ?? {}),
    }
    await store(services, requester, upload)
    return { one_time_key_counts: (await keyCounts(services.db, requester.device)).oneTimeKeys }
  },
})

async function store(
  { db, deviceLists }: Pick<Services, 'db' | 'deviceLists'>,
  requester: Requester,
  upload: KeyUpload,
): Promise<void> {
  await db
    .transaction()
    .execute(async (trx) => {
      const result = await putKeys(trx, requester.device, upload)
      if (result === 'key exists') throw unknown('A one-time key of this name exists and is another key')
      if (result === 'too many') throw unknown(`A device may have ${MAX_ONE_TIME_KEYS} one-time keys`)
      if (upload.deviceKeys !== undefined) await noteDeviceListChange(trx, requester.userId, Date.now())
    })
    .catch((cause: unknown) => {
      throw isDeviceGone(cause) ? unknownToken() : cause
    })
  forgetKeyCounts(db, [requester.device])
  if (upload.deviceKeys !== undefined) await deviceLists.changed(requester.userId)
}

/** A foreign key without its target: the device was logged out while it uploaded. */
const isDeviceGone = (cause: unknown): boolean => (cause as { code?: unknown }).code === '23503'

const MAX_DEVICE_KEYS_BYTES = 32 * 1024

function checkedDeviceKeys(requester: Requester, keys: Static<typeof deviceKeys>): string {
  if (keys.user_id !== requester.userId) throw invalidParam('body.device_keys.user_id is not yours')
  if (keys.device_id !== requester.deviceId) throw invalidParam('body.device_keys.device_id is not that of this device')
  const keyId = `ed25519:${requester.deviceId}`
  const publicKey = decodeBase64(ownString(keys.keys, keyId) ?? '')
  if (publicKey?.length !== 32) throw invalidParam(`body.device_keys.keys has no Ed25519 key called ${keyId}`)
  const { unsigned: _, ...signed } = keys as JsonObject
  const text = canonical('body.device_keys', signed)
  if (Buffer.byteLength(text) > MAX_DEVICE_KEYS_BYTES) throw tooLarge('body.device_keys is too large')
  if (!verifyJson(signed, requester.userId, keyId, publicKey)) {
    throw new MatrixError(400, 'M_INVALID_SIGNATURE', `body.device_keys is not signed by its key ${keyId}`)
  }
  return text
}

function fallbackKeysOf(keys: Static<typeof namedKeys>): NamedKey[] {
  const named = namedKeysOf(keys)
  // "There can only be at most one key per algorithm uploaded"
  if (new Set(named.map(({ algorithm }) => algorithm)).size < named.length) {
    throw invalidParam('body.fallback_keys has several keys of one algorithm')
  }
  return named
}

const MAX_KEY_BYTES = 8 * 1024

function namedKeysOf(keys: Static<typeof namedKeys>): NamedKey[] {
  const entries = Object.entries(keys)
  if (entries.length > MAX_ONE_TIME_KEYS) throw unknown(`A device may have ${MAX_ONE_TIME_KEYS} one-time keys`)
  return entries.map(([name, key]) => {
    const body = canonical('A key', key as Json)
    if (Buffer.byteLength(body) > MAX_KEY_BYTES) throw tooLarge('A key is too large')
    return { ...splitName(name), body }
  })
}

/** `signed_curve25519:AAAAHg` */
function splitName(name: string): { algorithm: string; keyId: string } {
  const colon = name.indexOf(':')
  if (colon < 1 || colon === name.length - 1 || name.length > 255 || name.includes('\0')) {
    throw invalidParam('The name of a key is its algorithm, a colon and the id of the key')
  }
  return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1) }
}

function canonical(what: string, value: Json): string {
  try {
    return canonicalJson(value)
  } catch (cause) {
    if (!(cause instanceof CanonicalJsonError)) throw cause
    throw badJson(`${what} cannot be written as canonical JSON: ${cause.message}`)
  }
}
