import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { roomOfServer } from '../../room/for-servers.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/state/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
 *
 * The state before the event, not after it.
 */
export const getRoomState = endpoint({
  operationId: 'getRoomState',
  method: 'get',
  path: '/_matrix/federation/v1/state/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  query: Type.Object({ event_id: eventId }),

  async handle(services, { requester: { serverName }, params, query }) {
    const name = await roomOfServer(services, serverName, params.roomId)
    return new Reply(200, await services.statesForServers.state(name, serverName, query.event_id))
  },
})
