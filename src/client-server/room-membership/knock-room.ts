import { Type } from 'typebox'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn, roomIdOrAlias, via, viaIn } from './fields.js'

/**
 * POST /_matrix/client/v3/knock/{roomIdOrAlias}
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
 */
export const knockRoom = endpoint({
  operationId: 'knockRoom',
  method: 'post',
  path: '/_matrix/client/v3/knock/:roomIdOrAlias',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomIdOrAlias }),
  query: Type.Object({ via, server_name: via }),
  body: Type.Object({ reason }),
  emptyBody: 'allowed',

  async handle({ memberships }, { requester, params, query, body, signal }) {
    const destination = { roomIdOrAlias: params.roomIdOrAlias, via: viaIn(query) }
    return { room_id: await memberships.knock(requester.userId, destination, reasonIn(body), signal) }
  },
})
