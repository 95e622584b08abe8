import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'
import { receivedMembership } from '../received-membership.js'

/**
 * PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
 */
export const sendJoinV2 = endpoint({
  operationId: 'sendJoinV2',
  method: 'put',
  path: '/_matrix/federation/v2/send_join/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  query: Type.Object({ omit_members: Type.Optional(Type.Boolean()) }),
  body: jsonObject,

  async handle(services, call) {
    const { name, event } = await receivedMembership(services, call, 'join')
    return new Reply(200, await services.statesForJoiners.before(name, event, call.query.omit_members ?? false))
  },
})
