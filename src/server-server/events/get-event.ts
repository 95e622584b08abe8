import { Type } from 'typebox'
import { eventId } from '../../http/fields.js'
import { eventOfServer } from '../../room/for-servers.js'
import { endpoint } from '../endpoint.js'
import { transactionOf } from '../transaction-of.js'

/**
 * GET /_matrix/federation/v1/event/{eventId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
 *
 * The request names no room: an event of a room that the server is not in is not there for it.
 */
export const getEvent = endpoint({
  operationId: 'getEvent',
  method: 'get',
  path: '/_matrix/federation/v1/event/:eventId',
  auth: 'signed-request',
  params: Type.Object({ eventId }),

  async handle(services, { requester: { serverName }, params }) {
    const { name, event } = await eventOfServer(services, serverName, params.eventId)
    return transactionOf(services, await services.gate.pdus(name, serverName, [event]))
  },
})
