import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'
import { receivedMembership } from '../received-membership.js'

/**
 * PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}
 *
 * It left the specification with v1.18; servers that know no other call it still. The same as the second version, in a
 * list behind a status.
 */
export const sendJoinV1 = endpoint({
  operationId: 'sendJoinV1',
  method: 'put',
  path: '/_matrix/federation/v1/send_join/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: jsonObject,

  async handle(services, call) {
    const { name, event } = await receivedMembership(services, call, 'join')
    const answer = await services.statesForJoiners.before(name, event, false)
    return new Reply(200, Buffer.concat([Buffer.from('[200,'), answer, Buffer.from(']')]))
  },
})
