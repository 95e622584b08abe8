import { Type } from 'typebox'
import { forbidden } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/register/available
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
 */
export const checkUsernameAvailability = endpoint({
  operationId: 'checkUsernameAvailability',
  method: 'get',
  path: '/_matrix/client/v3/register/available',
  auth: 'none',
  query: Type.Object({ username: Type.String() }),
  rateLimit: 'name-lookup',

  async handle({ accounts, config }, { query }) {
    if (config.registration === 'closed') throw forbidden('Registration is closed on this server')
    await accounts.checkAvailable(query.username)
    return { available: true }
  },
})
