import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/pushers
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
 *
 * Nobody has any. A client that is not told so does not show what it notifies of itself either.
 */
export const getPushers = endpoint({
  operationId: 'getPushers',
  method: 'get',
  path: '/_matrix/client/v3/pushers',
  auth: 'access-token',
  handle: () => ({ pushers: [] }),
})
