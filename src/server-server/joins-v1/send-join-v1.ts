import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { receiveMembership } from '../../room/received-memberships.js'
import { roomForServer } from '../../room/room-for-server.js'
import { endpoint } from '../endpoint.js'

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

  async handle({ inbound, statesForJoiners }, { requester: { serverName: origin }, params, bodyText: text }) {
    const name = await roomForServer(inbound.deps, origin, params.roomId)
    const received = { origin, membership: 'join', eventId: params.eventId, text } as const
    const join = await receiveMembership(inbound.deps, name, received)
    const answer = await statesForJoiners.before(name, join, false)
    return new Reply(200, Buffer.concat([Buffer.from('[200,'), answer, Buffer.from(']')]))
  },
})
