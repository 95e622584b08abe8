import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { upgradeRoom as replaceRoom } from '../../room/upgrade-room.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/upgrade
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
 */
export const upgradeRoom = endpoint({
  operationId: 'upgradeRoom',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/upgrade',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomId }),
  body: Type.Object({
    new_version: Type.String(),
    additional_creators: Type.Optional(Type.Array(userId, { maxItems: 200 })),
  }),

  async handle(services, { requester, params, body }) {
    const name = await roomOrForbidden(services.rooms, params.roomId)
    return { replacement_room: await replaceRoom(services, name, requester.userId, body) }
  },
})
