import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { roomOfServer } from '../../room/for-servers.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/state_ids/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
 */
export const getRoomStateIds = endpoint({
  operationId: 'getRoomStateIds',
  method: 'get',
  path: '/_matrix/federation/v1/state_ids/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  query: Type.Object({ event_id: eventId }),

  async handle(services, { requester: { serverName }, params, query }) {
    const name = await roomOfServer(services, serverName, params.roomId)
    return new Reply(200, await services.statesForServers.stateIds(name, serverName, query.event_id))
  },
})
