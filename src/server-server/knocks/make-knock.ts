import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { membershipTemplate, requireVersion } from '../../room/membership-templates.js'
import { requireOwnUser, roomForServer } from '../../room/room-for-server.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/make_knock/{roomId}/{userId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
 */
export const makeKnock = endpoint({
  operationId: 'makeKnock',
  method: 'get',
  path: '/_matrix/federation/v1/make_knock/:roomId/:userId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, userId }),
  query: Type.Object({ ver: Type.Array(Type.String()) }),

  async handle({ inbound, rooms }, { requester, params, query }) {
    requireOwnUser(requester.serverName, params.userId)
    const name = await roomForServer(inbound.deps, requester.serverName, params.roomId)
    requireVersion(name, query.ver)
    return membershipTemplate(rooms, name, params.userId, 'knock')
  },
})
