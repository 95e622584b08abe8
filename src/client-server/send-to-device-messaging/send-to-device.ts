import { createHash } from 'node:crypto'
import { Type } from 'typebox'
import { jsonObject, mapOf, text } from '../../http/fields.js'
import { toDeviceFacts } from '../../accounts/to-device-messages.js'
import { directToDeviceEdus } from '../../federation/direct-to-device.js'
import { OneAtATime } from '../../one-at-a-time.js'
import { putEdus } from '../../store/federation-outbox.js'
import { devicesOfUsers, noteSentToDevices, wasSentToDevices } from '../../store/to-device.js'
import { usersByServer } from '../end-to-end-encryption/users-by-server.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
 *
 * All messages are sent or none is. Users and devices of ours that are not known are passed over; what is for users of
 * other servers waits until their servers have it.
 *
 * The transaction id is written after the messages to our users: if the process dies between the two, a retry sends them
 * again, which receivers take better than never getting them.
 */
export const sendToDevice = endpoint({
  operationId: 'sendToDevice',
  method: 'put',
  path: '/_matrix/client/v3/sendToDevice/:eventType/:txnId',
  auth: 'access-token',
  params: Type.Object({ eventType: text(255, 1), txnId: text(255, 1) }),
  body: Type.Object({ messages: mapOf(mapOf(jsonObject)) }),

  async handle({ config, db, writer, outgoingEdus }, { requester, params, body }) {
    const key = transactionKey(params.eventType, params.txnId)
    await sends.run(`${requester.device} ${requester.userId} ${key.toString('hex')}`, async () => {
      if (await wasSentToDevices(db, requester.device, key)) return
      const { local, remote } = usersByServer(body.messages, config.serverName)
      const edus = directToDeviceEdus(requester.userId, params.eventType, remote)
      const devices = await devicesOfUsers(db, [...local.keys()])
      const facts = toDeviceFacts(requester.userId, params.eventType, local, devices)
      if (facts.length > 0) await writer.write(facts)
      await db.transaction().execute(async (trx) => {
        await putEdus(trx, edus, Date.now())
        await noteSentToDevices(trx, requester.device, key, Date.now())
      })
      outgoingEdus.wake(edus.map(({ destination }) => destination))
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
