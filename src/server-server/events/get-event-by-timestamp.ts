import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { notFound } from '../../protocol/matrix-error.js'
import { closestEvent } from '../../room/closest-event.js'
import { roomOfServer } from '../../room/for-servers.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/timestamp_to_event/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
 */
export const getEventByTimestamp = endpoint({
  operationId: 'getEventByTimestamp',
  method: 'get',
  path: '/_matrix/federation/v1/timestamp_to_event/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  query: Type.Object({ ts: Type.Integer(), dir: Type.Union([Type.Literal('f'), Type.Literal('b')]) }),

  async handle(services, { requester: { serverName }, params, query: { ts, dir } }) {
    const name = await roomOfServer(services, serverName, params.roomId)
    const place = { ts, backwards: dir === 'b' }
    const closest = await closestEvent(services, name, { kind: 'server', server: serverName }, place)
    if (closest === undefined) throw notFound('There is no such event')
    return { event_id: closest.event.eventId, origin_server_ts: closest.event.originServerTs }
  },
})
