import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { endpoint } from '../endpoint.js'
import { receivedMembership } from '../received-membership.js'

/**
 * PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
 */
export const sendLeaveV2 = endpoint({
  operationId: 'sendLeaveV2',
  method: 'put',
  path: '/_matrix/federation/v2/send_leave/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: jsonObject,

  async handle(services, call) {
    await receivedMembership(services, call, 'leave')
    return {}
  },
})
