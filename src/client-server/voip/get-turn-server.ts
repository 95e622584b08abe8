import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/voip/turnServer
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
 *
 * No TURN server can be configured yet. Clients take an answer without `uris` as that, and call without one.
 */
export const getTurnServer = endpoint({
  operationId: 'getTurnServer',
  method: 'get',
  path: '/_matrix/client/v3/voip/turnServer',
  auth: 'access-token',
  handle: () => ({}),
})
