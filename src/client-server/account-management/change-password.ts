import { Type } from 'typebox'
import { byPassword } from '../../accounts/stages.js'
import { auth } from '../../http/fields.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/account/password
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
 *
 * The current password is always asked for: a stolen access token must not be enough to take an account over. Without an
 * access token the specification lets an address of the account vouch for the user; accounts here have none.
 */
export const changePassword = endpoint({
  operationId: 'changePassword',
  method: 'post',
  path: '/_matrix/client/v3/account/password',
  auth: 'access-token',
  body: Type.Object({
    new_password: Type.String({ minLength: 1, maxLength: 512 }),
    logout_devices: Type.Optional(Type.Boolean()),
    auth,
  }),

  async handle({ accounts, interactiveAuth }, { requester, body, ip }) {
    await interactiveAuth.require(byPassword('changePassword', accounts, requester, ip), body.auth)
    const logOutExcept = body.logout_devices === false ? undefined : requester.device
    await accounts.changePassword(requester.userId, body.new_password, logOutExcept)
    return {}
  },
})
