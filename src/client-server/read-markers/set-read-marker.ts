import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { markTypes, moveMarks } from '../../room/receipts.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/read_markers
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
 *
 * All of the markers move or none does.
 */
export const setReadMarker = endpoint({
  operationId: 'setReadMarker',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/read_markers',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  body: Type.Object({
    'm.fully_read': Type.Optional(eventId),
    'm.read': Type.Optional(eventId),
    'm.read.private': Type.Optional(eventId),
  }),

  async handle(services, { requester, params, body }) {
    const marks = markTypes.flatMap((type) => {
      const eventId = body[type]
      return eventId === undefined ? [] : [{ type, eventId }]
    })
    await moveMarks(services, await services.rooms.named(params.roomId), requester.userId, marks)
    return {}
  },
})
