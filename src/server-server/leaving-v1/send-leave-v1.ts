import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { endpoint } from '../endpoint.js'
import { receivedMembership } from '../received-membership.js'

/**
 * PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}
 *
 * It left the specification with v1.18; servers that know no other call it still.
 */
export const sendLeaveV1 = endpoint({
  operationId: 'sendLeaveV1',
  method: 'put',
  path: '/_matrix/federation/v1/send_leave/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: jsonObject,

  async handle(services, call) {
    await receivedMembership(services, call, 'leave')
    return [200, {}]
  },
})
