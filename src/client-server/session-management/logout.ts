import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/logout
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
 */
export const logout = endpoint({
  operationId: 'logout',
  method: 'post',
  path: '/_matrix/client/v3/logout',
  auth: 'access-token',
  async handle({ accounts }, { requester }) {
    await accounts.logOut(requester)
    return {}
  },
})

/**
 * POST /_matrix/client/v3/logout/all
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
 *
 * Asks for no password, by the specification: who has lost a device must be able to end its session.
 */
export const logoutAll = endpoint({
  operationId: 'logout_all',
  method: 'post',
  path: '/_matrix/client/v3/logout/all',
  auth: 'access-token',
  async handle({ accounts }, { requester }) {
    await accounts.deleteDevices(requester.userId)
    return {}
  },
})
