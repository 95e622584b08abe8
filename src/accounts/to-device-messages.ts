/** Messages to devices of local users as facts of the log, whoever sends them. */
import type { JsonObject } from '../protocol/json.js'
import { tooLarge } from '../protocol/matrix-error.js'
import type { NewFact } from '../store/facts.js'
import type { LocalDevice } from '../store/to-device.js'

/** As large as an event may be. */
const MAX_MESSAGE_BYTES = 65_536
/** Of all copies together: `*` multiplies a message by the devices of a user. */
const MAX_BYTES = 16 * 1024 * 1024

/** By user and device; `*` is all devices of the user for which nothing else is said. */
export type MessagesByUser = ReadonlyMap<string, Readonly<Record<string, JsonObject>>>

/** For those of the devices that are addressed. @throws MatrixError 413 */
export function toDeviceFacts(
  sender: string,
  type: string,
  messages: MessagesByUser,
  devices: readonly LocalDevice[],
  maxBytes = MAX_BYTES,
): (NewFact & { readonly kind: 'to-device' })[] {
  const texts = new Map(Array.from(messages, ([user, byDevice]) => [user, messageTexts(byDevice)]))
  let bytes = 0
  return devices.flatMap(({ userId, deviceId, device }) => {
    const ofUser = texts.get(userId)
    const content = ofUser?.get(deviceId) ?? ofUser?.get('*')
    if (content === undefined) return []
    bytes += Buffer.byteLength(content)
    if (bytes > maxBytes) throw tooLarge('These are too many messages for one request')
    return [{ kind: 'to-device' as const, user: userId, device, sender, type, content }]
  })
}

/** Contents as texts, by device. @throws MatrixError 413 */
export const messageTexts = (byDevice: Readonly<Record<string, JsonObject>>): Map<string, string> =>
  new Map(Object.entries(byDevice).map(([deviceId, content]) => [deviceId, checked(JSON.stringify(content))]))

function checked(content: string): string {
  if (Buffer.byteLength(content) <= MAX_MESSAGE_BYTES) return content
  throw tooLarge(`A message may have ${MAX_MESSAGE_BYTES} bytes`)
}
