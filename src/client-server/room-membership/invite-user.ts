import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { own } from '../../protocol/json.js'
import { badJson, forbidden } from '../../protocol/matrix-error.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { invite } from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn } from './fields.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/invite
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
 *
 * The same path with other fields invites by e-mail address or phone number (`inviteBy3PID`), which takes an identity
 * server: refused.
 */
export const inviteUser = endpoint({
  operationId: 'inviteUser',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/invite',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomId }),
  body: Type.Object({ user_id: Type.Optional(userId), reason }),

  async handle(services, { requester, params, body }) {
    if (body.user_id === undefined) throw withoutUser(own(body, 'medium') !== undefined)
    const name = await roomOrForbidden(services.rooms, params.roomId)
    await invite(services, name, requester.userId, body.user_id, reasonIn(body))
    return {}
  },
})

const withoutUser = (isBy3pid: boolean) =>
  isBy3pid
    ? forbidden('This server uses no identity server and cannot invite by e-mail address or phone number')
    : badJson('body.user_id is required')
