import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { roomOfServer } from '../../room/for-servers.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
 */
export const getEventAuth = endpoint({
  operationId: 'getEventAuth',
  method: 'get',
  path: '/_matrix/federation/v1/event_auth/:roomId/:eventId',
  auth: 'signed-request',
  params: Type.Object({ roomId, eventId }),

  async handle(services, { requester: { serverName }, params }) {
    const name = await roomOfServer(services, serverName, params.roomId)
    return new Reply(200, await services.statesForServers.authChain(name, serverName, params.eventId))
  },
})
