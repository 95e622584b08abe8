import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { stateForOutsider } from '../../room/state-for-outsider.js'
import { endpoint } from '../endpoint.js'
import { receivedMembership } from '../received-membership.js'

/**
 * PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
 */
export const sendKnock = endpoint({
  operationId: 'sendKnock',
  method: 'put',
  path: '/_matrix/federation/v1/send_knock/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: jsonObject,

  async handle(services, call) {
    const { name } = await receivedMembership(services, call, 'knock')
    return new Reply(200, `{"knock_room_state":[${(await stateForOutsider(services.rooms, name, [])).join(',')}]}`)
  },
})
