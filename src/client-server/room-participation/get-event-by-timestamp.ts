import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { notFound } from '../../protocol/matrix-error.js'
import { closestEventAnywhere } from '../../room/closest-event.js'
import { userReader } from '../../room/gate.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
 */
export const getEventByTimestamp = endpoint({
  operationId: 'getEventByTimestamp',
  method: 'get',
  path: '/_matrix/client/v1/rooms/:roomId/timestamp_to_event',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  query: Type.Object({ ts: Type.Integer(), dir: Type.Union([Type.Literal('f'), Type.Literal('b')]) }),

  async handle(services, { requester, params, query: { ts, dir } }) {
    const name = await roomOrForbidden(services.rooms, params.roomId)
    const reader = userReader(requester)
    // Others are asked for nobody who may not read the room.
    await services.gate.readableUntil(name, reader)
    const closest = await closestEventAnywhere(services, name, reader, { ts, backwards: dir === 'b' })
    if (closest === undefined) throw notFound('There is no such event')
    return { event_id: closest.event.eventId, origin_server_ts: closest.event.originServerTs }
  },
})
