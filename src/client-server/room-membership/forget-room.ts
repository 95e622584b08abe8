import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { notFound, unknown } from '../../protocol/matrix-error.js'
import { forget, membershipIn } from '../../store/memberships.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/forget
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
 *
 * Only a room one is not in can be forgotten. Being invited to it again, or joining it, brings it back.
 */
export const forgetRoom = endpoint({
  operationId: 'forgetRoom',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/forget',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  body: Type.Object({}),
  emptyBody: 'allowed',

  async handle({ db, stores }, { requester, params }) {
    const name = await stores.names.find(params.roomId)
    const membership = name && (await membershipIn(db, name.room, requester.userId))
    if (name === undefined || membership === undefined) throw notFound('You were never in this room')
    if (membership.membership !== 'leave' && membership.membership !== 'ban') {
      throw unknown('Leave the room before you forget it')
    }
    await forget(db, name.room, requester.userId)
    return {}
  },
})
