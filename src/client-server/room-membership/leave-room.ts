import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { notFound } from '../../protocol/matrix-error.js'
import { isKnown } from '../../room/known-room.js'
import { leave, leaveUnheld } from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn } from './fields.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/leave
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
 */
export const leaveRoom = endpoint({
  operationId: 'leaveRoom',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/leave',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  body: Type.Object({ reason }),
  emptyBody: 'allowed',

  async handle(services, { requester, params, body }) {
    const name = await services.stores.names.find(params.roomId)
    if (name === undefined) throw notFound('This server does not know the room')
    if (isKnown(name)) await leave(services, name, requester.userId, reasonIn(body))
    else await leaveUnheld(services, name, requester.userId)
    return {}
  },
})
