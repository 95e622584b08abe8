import { Type } from 'typebox'
import { jsonObject, roomId } from '../../http/fields.js'
import { receiveExchange } from '../../room/received-exchanges.js'
import { endpoint } from '../endpoint.js'

/**
 * PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
 */
export const exchangeThirdPartyInvite = endpoint({
  operationId: 'exchangeThirdPartyInvite',
  method: 'put',
  path: '/_matrix/federation/v1/exchange_third_party_invite/:roomId',
  auth: 'signed-request',
  rateLimit: 'handshake',
  params: Type.Object({ roomId }),
  body: jsonObject,
  bodyLimit: 64 * 1024,

  async handle(services, { requester, params, body }) {
    await receiveExchange(services, requester.serverName, params.roomId, body)
    return {}
  },
})
