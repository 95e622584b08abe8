import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/thirdparty/protocols
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols
 *
 * Protocols are those of application services, and there are none.
 */
export const getProtocols = endpoint({
  operationId: 'getProtocols',
  method: 'get',
  path: '/_matrix/client/v3/thirdparty/protocols',
  auth: 'access-token',
  handle: () => ({}),
})
