import { Type } from 'typebox'
import { roomId, text } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { userReader } from '../../room/gate.js'
import { serialise } from '../../room/serialise.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
 */
export const getOneRoomEvent = endpoint({
  operationId: 'getOneRoomEvent',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/event/:eventId',
  auth: 'access-token',
  params: Type.Object({ roomId, eventId: text(255) }),

  async handle(services, { requester, params }) {
    const name = await services.rooms.named(params.roomId)
    const event = await services.gate.event(name, userReader(requester), params.eventId)
    const [text] = await serialise(services, name, requester, [event], { withRoomId: true })
    return new Reply(200, text!)
  },
})
