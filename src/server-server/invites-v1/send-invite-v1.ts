import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { isObject, own, type JsonObject } from '../../protocol/json.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/federation/v1/invite/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
 *
 * "Servers which receive a v1 invite request must assume that the room version is either 1 or 2." Their events look the
 * same and are signed in the same way.
 */
export const sendInviteV1 = endpoint({
  operationId: 'sendInviteV1',
  method: 'put',
  path: '/_matrix/federation/v1/invite/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: jsonObject,

  async handle({ receivedInvites }, { requester: { serverName: origin }, params, bodyText }) {
    const event = parseExactJson(bodyText) as JsonObject
    const unsigned = own(event, 'unsigned')
    const state = isObject(unsigned) ? own(unsigned, 'invite_room_state') : undefined
    const signed = await receivedInvites.receive({ origin, ...params, version: undefined, event, state })
    return new Reply(200, `[200,{"event":${signed}}]`)
  },
})
