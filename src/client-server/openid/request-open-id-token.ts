import { Type } from 'typebox'
import { makeOpenIdToken, OPENID_TOKEN_LIFETIME } from '../../accounts/openid-tokens.js'
import { jsonObject, userId } from '../../http/fields.js'
import { endpoint } from '../endpoint.js'
import { requireOwn } from '../user-data/own-user.js'

/**
 * POST /_matrix/client/v3/user/{userId}/openid/request_token
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
 */
export const requestOpenIdToken = endpoint({
  operationId: 'requestOpenIdToken',
  method: 'post',
  path: '/_matrix/client/v3/user/:userId/openid/request_token',
  auth: 'access-token',
  rateLimit: 'openid-token',
  params: Type.Object({ userId }),
  body: jsonObject,
  emptyBody: 'allowed',

  async handle({ config, db }, { requester, params }) {
    requireOwn(requester, params.userId)
    return {
      access_token: await makeOpenIdToken(db, requester.userId),
      token_type: 'Bearer',
      matrix_server_name: config.serverName,
      expires_in: OPENID_TOKEN_LIFETIME,
    }
  },
})
