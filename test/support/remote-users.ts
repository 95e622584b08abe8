/** Users of other servers in the rooms of a test homeserver, and their keys. */
import { randomBytes } from 'node:crypto'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signingKeyFromSeed, signJson } from '../../src/protocol/signing.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { TestHomeserver } from './homeserver.js'
import { holdRoom, receive } from './inbound.js'
import { labRoom, type Branch, type LabEvent, type LabRoomOptions } from './laboratory/index.js'

export interface SharedRoom {
  readonly room: Branch
  readonly name: KnownRoom
  /** Brings an event of the laboratory here. */
  take(...events: readonly LabEvent[]): Promise<void>
}

/** A room of another server with these members, as far as it has come. */
export async function sharedRoom({ services }: TestHomeserver, options: LabRoomOptions): Promise<SharedRoom> {
  const room = labRoom(options)
  const engine = services as unknown as RoomEngine
  const name = await holdRoom(engine, room)
  return { room, name, take: (...events) => receive(engine, name, events) }
}

/** Device keys as a client of the user makes them. */
export function deviceKeys(userId: string, deviceId: string, changes: JsonObject = {}): JsonObject {
  const key = signingKeyFromSeed(deviceId, randomBytes(32))
  const keys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [key.keyId]: encodeBase64(key.publicKey), [`curve25519:${deviceId}`]: encodeBase64(randomBytes(32)) },
    ...changes,
  }
  return signJson(keys, userId, key)
}

export function crossSigningKey(userId: string, usage: 'master' | 'self_signing'): JsonObject {
  const key = encodeBase64(randomBytes(32))
  return { user_id: userId, usage: [usage], keys: { [`ed25519:${key}`]: key } }
}
