import { Type } from 'typebox'
import { userOfOpenIdToken } from '../../accounts/openid-tokens.js'
import { missingToken, unknownToken } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/openid/userinfo
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
 *
 * Asked by services that are no homeservers and sign nothing. Whoever asks checks that the user is of the server they
 * asked: only own users have tokens here.
 */
export const exchangeOpenIdToken = endpoint({
  operationId: 'exchangeOpenIdToken',
  method: 'get',
  path: '/_matrix/federation/v1/openid/userinfo',
  auth: 'none',
  query: Type.Object({ access_token: Type.Optional(Type.String()) }),

  async handle({ db }, { query }) {
    if (query.access_token === undefined) throw missingToken()
    const sub = await userOfOpenIdToken(db, query.access_token)
    if (sub === undefined) throw unknownToken()
    return { sub }
  },
})
