import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { forbidden } from '../../protocol/matrix-error.js'
import { requireJoined } from '../../room/rooms.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
 */
export const setTyping = endpoint({
  operationId: 'setTyping',
  method: 'put',
  path: '/_matrix/client/v3/rooms/:roomId/typing/:userId',
  auth: 'access-token',
  params: Type.Object({ roomId, userId }),
  body: Type.Object({ typing: Type.Boolean(), timeout: Type.Optional(Type.Integer({ minimum: 0 })) }),

  async handle({ rooms, typing }, { requester, params, body }) {
    if (params.userId !== requester.userId) throw forbidden('You can type for yourself only')
    const name = await rooms.named(params.roomId)
    requireJoined(await rooms.membership(name, requester.userId))
    typing.set(name.room, requester.userId, body.typing ? (body.timeout ?? DEFAULT_TIMEOUT_MS) : 'stop')
    return {}
  },
})

/** "no more than 20-30 seconds" pass before a client that is still typing says so again. */
const DEFAULT_TIMEOUT_MS = 30_000
