import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { membershipTemplate } from '../../room/membership-templates.js'
import { requireOwnUser, roomForServer } from '../../room/room-for-server.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/make_leave/{roomId}/{userId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
 *
 * For who declines an invite, or takes back a knock, and has nobody in the room.
 */
export const makeLeave = endpoint({
  operationId: 'makeLeave',
  method: 'get',
  path: '/_matrix/federation/v1/make_leave/:roomId/:userId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, userId }),

  async handle({ inbound, rooms }, { requester, params }) {
    requireOwnUser(requester.serverName, params.userId)
    const name = await roomForServer(inbound.deps, requester.serverName, params.roomId)
    return membershipTemplate(rooms, name, params.userId, 'leave')
  },
})
