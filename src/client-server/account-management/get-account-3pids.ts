import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/account/3pid
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
 *
 * Accounts here have no addresses. Clients that are not told so show an error on the page of the account.
 */
export const getAccount3Pids = endpoint({
  operationId: 'getAccount3PIDs',
  method: 'get',
  path: '/_matrix/client/v3/account/3pid',
  auth: 'access-token',
  handle: () => ({ threepids: [] }),
})
