import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { roomOfServer } from '../../room/for-servers.js'
import { walkBack } from '../../store/history-walk.js'
import { endpoint } from '../endpoint.js'
import { transactionOf } from '../transaction-of.js'

/** Of 64 KiB each at most. */
const MOST_EVENTS = 100
const MOST_NAMED = 100

/**
 * GET /_matrix/federation/v1/backfill/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
 *
 * The events named and what came before them, those first. Soft-failed events are among them where the others name them.
 */
export const backfillRoom = endpoint({
  operationId: 'backfillRoom',
  method: 'get',
  path: '/_matrix/federation/v1/backfill/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  query: Type.Object({ v: Type.Array(eventId), limit: Type.Integer() }),

  async handle(services, { requester: { serverName }, params, query: { v, limit } }) {
    const name = await roomOfServer(services, serverName, params.roomId)
    const from = v.slice(0, MOST_NAMED)
    const walk = { from, fromIncluded: true, limit: Math.min(limit, MOST_EVENTS) }
    const events = await walkBack(services.stores, name.room, walk)
    return transactionOf(services, await services.gate.pdus(name, serverName, events))
  },
})
