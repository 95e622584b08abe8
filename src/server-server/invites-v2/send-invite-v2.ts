import { Type } from 'typebox'
import { eventId, jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { own, type JsonObject } from '../../protocol/json.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/federation/v2/invite/{roomId}/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
 */
export const sendInviteV2 = endpoint({
  operationId: 'sendInviteV2',
  method: 'put',
  path: '/_matrix/federation/v2/invite/:roomId/:eventId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId, eventId }),
  body: Type.Object({ room_version: Type.String(), event: jsonObject }),

  async handle({ receivedInvites }, { requester: { serverName: origin }, params, body, bodyText }) {
    const exact = parseExactJson(bodyText) as JsonObject
    const event = own(exact, 'event') as JsonObject
    const state = own(exact, 'invite_room_state')
    const signed = await receivedInvites.receive({ origin, ...params, version: body.room_version, event, state })
    return new Reply(200, `{"event":${signed}}`)
  },
})
