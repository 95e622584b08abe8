import { Type } from 'typebox'
import { jsonObject, roomId, text } from '../../http/fields.js'
import { isEventId } from '../../protocol/identifiers.js'
import { ownString, type JsonObject } from '../../protocol/json.js'
import { badJson } from '../../protocol/matrix-error.js'
import type { Draft } from '../../room/draft.js'
import { roomOrForbidden, type KnownRoom } from '../../room/known-room.js'
import { requireCanonical } from './canonical-content.js'
import { endpoint } from '../endpoint.js'
import { redactionDraft } from './redaction-draft.js'

/**
 * PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
 *
 * An `m.room.redaction` sent here is a redaction, and names its event in `content.redacts` whatever the room version.
 */
export const sendMessage = endpoint({
  operationId: 'sendMessage',
  method: 'put',
  path: '/_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId',
  auth: 'access-token',
  rateLimit: 'message',
  params: Type.Object({ roomId, eventType: Type.String(), txnId: text(1_024) }),
  body: jsonObject,

  async handle({ rooms }, { requester, params, body, nonCanonicalNumber }) {
    const name = await roomOrForbidden(rooms, params.roomId)
    requireCanonical(name, nonCanonicalNumber)
    const draft = draftOf(name, requester.userId, params.eventType, body)
    const endpoint = `send/${params.eventType}`
    const event = await rooms.send(name, draft, { device: requester.device, endpoint, transactionId: params.txnId })
    return { event_id: event.event.eventId }
  },
})

function draftOf(name: KnownRoom, sender: string, type: string, content: JsonObject): Draft {
  if (type !== 'm.room.redaction') return { type, sender, content }
  const redacts = ownString(content, 'redacts')
  if (redacts === undefined || !isEventId(redacts)) throw badJson('body.redacts must be the id of the event to redact')
  return redactionDraft(name, sender, redacts, content)
}
