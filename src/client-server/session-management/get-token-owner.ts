import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/account/whoami
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
 */
export const getTokenOwner = endpoint({
  operationId: 'getTokenOwner',
  method: 'get',
  path: '/_matrix/client/v3/account/whoami',
  auth: 'access-token',
  handle: (_, { requester }) => ({
    user_id: requester.userId,
    device_id: requester.deviceId,
    is_guest: false,
  }),
})
