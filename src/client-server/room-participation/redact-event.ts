import { Type } from 'typebox'
import { roomId, text } from '../../http/fields.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { requireCanonical } from './canonical-content.js'
import { endpoint } from '../endpoint.js'
import { redactionDraft } from './redaction-draft.js'

/**
 * PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
 */
export const redactEvent = endpoint({
  operationId: 'redactEvent',
  method: 'put',
  path: '/_matrix/client/v3/rooms/:roomId/redact/:eventId/:txnId',
  auth: 'access-token',
  rateLimit: 'message',
  params: Type.Object({ roomId, eventId: text(255), txnId: text(1_024) }),
  body: Type.Object({ reason: Type.Optional(Type.String()) }),
  emptyBody: 'allowed',

  async handle({ rooms }, { requester, params, body, nonCanonicalNumber }) {
    const name = await roomOrForbidden(rooms, params.roomId)
    requireCanonical(name, nonCanonicalNumber)
    const draft = redactionDraft(name, requester.userId, params.eventId, body)
    const endpoint = `redact/${params.eventId}`
    const event = await rooms.send(name, draft, { device: requester.device, endpoint, transactionId: params.txnId })
    return { event_id: event.event.eventId }
  },
})
