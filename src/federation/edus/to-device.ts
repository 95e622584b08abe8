import { toDeviceFacts } from '../../accounts/to-device-messages.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../../protocol/json.js'
import { devicesOfUsers, messagesTaken, noteMessagesTaken } from '../../store/to-device.js'
import { isUserOf, userOf, type Edu, type EduDeps } from './edu.js'

/**
 * Messages to devices of our users; users and devices that are not here are passed over. The id is noted after the
 * messages: if the process dies between the two, they come twice, which receivers take better than never.
 * https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging
 */
export async function takeToDevice(deps: EduDeps, { origin, content, left, counters }: Edu): Promise<void> {
  const { db, writer, now } = deps
  const [type, messageId] = [shortString(content, 'type'), shortString(content, 'message_id')]
  const messages = own(content, 'messages')
  if (type === undefined || messageId === undefined || !isObject(messages)) return counters.countDropped('format')
  const sender = userOf(origin, content, 'sender')
  if (sender === undefined) return counters.countDropped('other server')

  const ours = messagesToUsersOf(deps.serverName, messages)
  if (ours.size > MAX_USERS) return counters.countDropped('too much')
  const devices = await devicesOfUsers(db, [...ours.keys()])
  const facts = toDeviceFacts(sender, type, ours, devices, left.messageBytes)
  if (facts.length === 0) return
  if ((await messagesTaken(db, origin, [messageId])).has(messageId)) return counters.countDropped('known')
  left.messageBytes -= facts.reduce((bytes, fact) => bytes + Buffer.byteLength(fact.content), 0)
  await writer.write(facts)
  await noteMessagesTaken(db, origin, [messageId], now())
}

/** Of ours, in one EDU. Clients send to some tens at once. */
const MAX_USERS = 1_000

/** Of what has no text of the usual size, nothing is kept. */
function shortString(content: JsonObject, key: string): string | undefined {
  const text = ownString(content, key)
  return text !== undefined && text.length <= 255 && !text.includes('\0') ? text : undefined
}

function messagesToUsersOf(serverName: string, messages: JsonObject): Map<string, Record<string, JsonObject>> {
  const ours = new Map<string, Record<string, JsonObject>>()
  for (const [userId, byDevice] of Object.entries(messages)) {
    if (!isUserOf(serverName, userId) || !isObject(byDevice)) continue
    const contents = Object.entries(byDevice).filter((entry): entry is [string, JsonObject] => isContent(entry[1]))
    ours.set(userId, Object.fromEntries(contents))
  }
  return ours
}

const isContent = (value: Json | undefined): boolean => isObject(value)
