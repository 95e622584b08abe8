import { Type } from 'typebox'
import { eventId, roomId, text } from '../../http/fields.js'
import { invalidParam } from '../../protocol/matrix-error.js'
import { markTypes, moveMarks } from '../../room/receipts.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
 *
 * Old clients send no body.
 */
export const postReceipt = endpoint({
  operationId: 'postReceipt',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/receipt/:receiptType/:eventId',
  auth: 'access-token',
  params: Type.Object({ roomId, receiptType: Type.Enum([...markTypes]), eventId }),
  body: Type.Object({ thread_id: Type.Optional(text(255)) }),
  emptyBody: 'allowed',

  async handle(services, { requester, params, body }) {
    const threadId = body.thread_id
    if (threadId === '') throw invalidParam('body.thread_id may not be empty')
    if (threadId !== undefined && params.receiptType === 'm.fully_read') {
      throw invalidParam('body.thread_id does not go with m.fully_read')
    }
    const mark = { type: params.receiptType, eventId: params.eventId, threadId }
    await moveMarks(services, await services.rooms.named(params.roomId), requester.userId, [mark])
    return {}
  },
})
