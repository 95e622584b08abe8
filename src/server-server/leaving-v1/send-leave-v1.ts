import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { receiveMembership } from '../../room/received-memberships.js'
import { roomForServer } from '../../room/room-for-server.js'
import { endpoint } from '../endpoint.js'

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

  async handle({ inbound }, { requester: { serverName: origin }, params, bodyText: text }) {
    const name = await roomForServer(inbound.deps, origin, params.roomId)
    await receiveMembership(inbound.deps, name, { origin, membership: 'leave', eventId: params.eventId, text })
    return [200, {}]
  },
})
