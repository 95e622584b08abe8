import { createHash } from 'node:crypto'
import { Type } from 'typebox'
import { jsonObject, mapOf, text } from '../../http/fields.js'
import { OneAtATime } from '../../one-at-a-time.js'
import type { JsonObject } from '../../protocol/json.js'
import { tooLarge } from '../../protocol/matrix-error.js'
import type { NewFact } from '../../store/facts.js'
import { devicesOfUsers, noteSentToDevices, wasSentToDevices, type LocalDevice } from '../../store/to-device.js'
import { byServer } from '../end-to-end-encryption/local-users.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
 *
 * All messages are sent or none is. Users and devices that are not known are passed over, and so are users of other
 * servers, which cannot be reached.
 *
 * The transaction id is written after the messages: if the process dies between the two, a retry sends them again, which
 * receivers take better than never getting them.
 */
export const sendToDevice = endpoint({
  operationId: 'sendToDevice',
  method: 'put',
  path: '/_matrix/client/v3/sendToDevice/:eventType/:txnId',
  auth: 'access-token',
  params: Type.Object({ eventType: text(255, 1), txnId: text(255, 1) }),
  body: Type.Object({ messages: mapOf(mapOf(jsonObject)) }),

  async handle({ config, db, writer }, { requester, params, body }) {
    const key = transactionKey(params.eventType, params.txnId)
    await sends.run(`${requester.device} ${requester.userId} ${key.toString('hex')}`, async () => {
      if (await wasSentToDevices(db, requester.device, key)) return
      const messages = new Map(Object.entries(body.messages))
      const { local } = byServer([...messages.keys()], config.serverName)
      const facts = factsOf(requester.userId, params.eventType, messages, await devicesOfUsers(db, local))
      if (facts.length > 0) await writer.write(facts)
      await noteSentToDevices(db, requester.device, key, Date.now())
    })
    return {}
  },
})

/** A retry that comes while the first is under way waits for it. */
const sends = new OneAtATime()

const transactionKey = (eventType: string, txnId: string): Buffer =>
  createHash('sha256')
    .update(JSON.stringify([eventType, txnId]))
    .digest()
    .subarray(0, 16)

/** As large as an event may be. */
const MAX_MESSAGE_BYTES = 65_536
/** Of all copies together: `*` multiplies a message by the devices of a user. */
const MAX_BYTES = 16 * 1024 * 1024

function factsOf(
  sender: string,
  type: string,
  messages: ReadonlyMap<string, Record<string, JsonObject>>,
  devices: readonly LocalDevice[],
): NewFact[] {
  const facts: NewFact[] = []
  let bytes = 0
  for (const [user, byDevice] of messages) {
    const texts = new Map(Object.entries(byDevice).map(([deviceId, content]) => [deviceId, JSON.stringify(content)]))
    for (const { deviceId, device } of devices.filter((one) => one.userId === user)) {
      const content = texts.get(deviceId) ?? texts.get('*')
      if (content === undefined) continue
      bytes += sizeOf(content)
      if (bytes > MAX_BYTES) throw tooLarge('These are too many messages for one request')
      facts.push({ kind: 'to-device', user, device, sender, type, content })
    }
  }
  return facts
}

function sizeOf(content: string): number {
  const bytes = Buffer.byteLength(content)
  if (bytes > MAX_MESSAGE_BYTES) throw tooLarge(`A message may have ${MAX_MESSAGE_BYTES} bytes`)
  return bytes
}
