import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { receiveMembership } from '../../room/received-memberships.js'
import { roomForServer } from '../../room/room-for-server.js'
import { endpoint } from '../endpoint.js'

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

  async handle({ inbound, statesForJoiners }, { requester: { serverName: origin }, params, query, bodyText: text }) {
    const name = await roomForServer(inbound.deps, origin, params.roomId)
    const received = { origin, membership: 'join', eventId: params.eventId, text } as const
    const join = await receiveMembership(inbound.deps, name, received)
    return new Reply(200, await statesForJoiners.before(name, join, query.omit_members ?? false))
  },
})
