import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { receiveMembership } from '../../room/received-memberships.js'
import { roomForServer } from '../../room/room-for-server.js'
import { stateForOutsider } from '../../room/state-for-outsider.js'
import { endpoint } from '../endpoint.js'

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

  async handle({ inbound, rooms }, { requester: { serverName: origin }, params, bodyText: text }) {
    const name = await roomForServer(inbound.deps, origin, params.roomId)
    await receiveMembership(inbound.deps, name, { origin, membership: 'knock', eventId: params.eventId, text })
    return new Reply(200, `{"knock_room_state":[${(await stateForOutsider(rooms, name, [])).join(',')}]}`)
  },
})
