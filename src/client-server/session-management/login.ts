import { Type } from 'typebox'
import { userOf } from '../../accounts/stages.js'
import { deviceId, jsonObject, text } from '../../http/fields.js'
import { missingParam, unknown } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/login
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
 */
export const getLoginFlows = endpoint({
  operationId: 'getLoginFlows',
  method: 'get',
  path: '/_matrix/client/v3/login',
  auth: 'none',
  handle: () => ({ flows: [{ type: 'm.login.password' }] }),
})

/**
 * POST /_matrix/client/v3/login
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
 *
 * A wrong password, a user who does not exist and one of another server get the same answer after the same time.
 */
export const login = endpoint({
  operationId: 'login',
  method: 'post',
  path: '/_matrix/client/v3/login',
  auth: 'none',
  body: Type.Object({
    type: Type.String(),
    identifier: Type.Optional(jsonObject),
    /** Old clients give a user id or a localpart here. */
    user: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    device_id: Type.Optional(deviceId),
    initial_device_display_name: Type.Optional(text(512)),
  }),
  rateLimit: 'login',

  async handle({ accounts }, { body, ip }) {
    if (body.type !== 'm.login.password') throw unknown('This server knows the login type m.login.password only')
    const user = userOf(body)
    if (body.password === undefined) throw missingParam('body.password is required')

    const userId = await accounts.checkPassword(accounts.userIdOf(user), body.password, ip)
    const login = await accounts.logIn(userId, {
      deviceId: body.device_id,
      displayName: body.initial_device_display_name,
      ip,
    })
    return { user_id: login.userId, access_token: login.accessToken, device_id: login.deviceId }
  },
})
