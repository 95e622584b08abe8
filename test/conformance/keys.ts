import { randomBytes } from 'node:crypto'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signingKeyFromSeed, signJson, type SigningKey } from '../../src/protocol/signing.js'
import type { TestUser } from '../support/test-user.js'

interface DeviceKeys {
  readonly user: TestUser
  readonly key: SigningKey
  readonly keys: JsonObject
}

/** Signed, as clients make them. */
export function deviceKeys(user: TestUser): DeviceKeys {
  const key = signingKeyFromSeed(user.deviceId, randomBytes(32))
  const unsigned = {
    user_id: user.userId,
    device_id: user.deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [key.keyId]: encodeBase64(key.publicKey), [`curve25519:${user.deviceId}`]: encodeBase64(randomBytes(32)) },
  }
  return { user, key, keys: signJson(unsigned, user.userId, key) }
}

/** A signed Curve25519 key of the device. */
export const oneTimeKey = ({ user, key }: DeviceKeys, more: JsonObject = {}): JsonObject =>
  signJson({ key: encodeBase64(randomBytes(32)), ...more }, user.userId, key)
