import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
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

  async handle({ memberships }, { requester, params, body }) {
    await memberships.leave(requester.userId, params.roomId, reasonIn(body))
    return {}
  },
})
