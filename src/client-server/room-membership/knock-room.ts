import { Type } from 'typebox'
import { roomByIdOrAlias } from '../../room/known-room.js'
import { knock } from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn, roomIdOrAlias, via } from './fields.js'

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

  async handle(services, { requester, params, body }) {
    const name = await roomByIdOrAlias(services.rooms, params.roomIdOrAlias)
    await knock(services, name, requester.userId, reasonIn(body))
    return { room_id: name.roomId }
  },
})
