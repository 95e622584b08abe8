/** Messages to devices of other servers' users as the EDUs that carry them. https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging */
import { randomBytes } from 'node:crypto'
import type { MessagesByUser } from '../accounts/to-device-messages.js'
import { encodeBase64Url } from '../protocol/base64.js'
import { canonicalJson, CanonicalJsonError } from '../protocol/canonical-json.js'
import { serverNameOf } from '../protocol/identifiers.js'
import type { JsonObject } from '../protocol/json.js'
import { badJson, tooLarge } from '../protocol/matrix-error.js'
import type { OutboxEdu } from '../store/federation-outbox.js'

/** As large as an event may be. */
const MAX_MESSAGE_BYTES = 65_536
/** Messages are put together up to this, so that no EDU is larger than an event by much. */
const EDU_BYTES = 65_536

/**
 * Several for a server to which much is sent. @throws MatrixError 413, and 400 for content that cannot be signed: what goes
 * to another server is canonical JSON.
 */
export function directToDeviceEdus(sender: string, type: string, messages: MessagesByUser): OutboxEdu[] {
  const edus: OutboxEdu[] = []
  for (const [destination, ofServer] of byServer(messages)) {
    for (const users of packed(ofServer)) edus.push({ destination, edu: eduText(sender, type, users) })
  }
  return edus
}

interface Message {
  readonly userId: string
  readonly deviceId: string
  readonly content: JsonObject
  readonly bytes: number
}

function byServer(messages: MessagesByUser): Map<string, Message[]> {
  const servers = new Map<string, Message[]>()
  for (const [userId, byDevice] of messages) {
    const server = serverNameOf(userId)!
    const ofServer = servers.get(server) ?? []
    for (const [deviceId, content] of Object.entries(byDevice)) {
      ofServer.push({ userId, deviceId, content, bytes: sizeOf(content) })
    }
    if (ofServer.length > 0) servers.set(server, ofServer)
  }
  return servers
}

function sizeOf(content: JsonObject): number {
  try {
    const bytes = Buffer.byteLength(canonicalJson(content))
    if (bytes <= MAX_MESSAGE_BYTES) return bytes
  } catch (cause) {
    if (!(cause instanceof CanonicalJsonError)) throw cause
    throw badJson(`A message to another server cannot be written as canonical JSON: ${cause.message}`)
  }
  throw tooLarge(`A message may have ${MAX_MESSAGE_BYTES} bytes`)
}

function packed(messages: readonly Message[]): Message[][] {
  const packs: Message[][] = []
  let bytes = Infinity
  for (const message of messages) {
    bytes += message.bytes
    if (bytes > EDU_BYTES) {
      packs.push([])
      bytes = message.bytes
    }
    packs.at(-1)!.push(message)
  }
  return packs
}

function eduText(sender: string, type: string, messages: readonly Message[]): string {
  const users = new Map<string, Map<string, JsonObject>>()
  for (const { userId, deviceId, content } of messages) {
    users.set(userId, (users.get(userId) ?? new Map<string, JsonObject>()).set(deviceId, content))
  }
  const byUser = Object.fromEntries(Array.from(users, ([userId, devices]) => [userId, Object.fromEntries(devices)]))
  const content = { message_id: encodeBase64Url(randomBytes(16)), sender, type, messages: byUser }
  return canonicalJson({ content, edu_type: 'm.direct_to_device' })
}
