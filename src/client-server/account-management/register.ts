import { Type, type Static } from 'typebox'
import type { Challenge } from '../../accounts/interactive-auth.js'
import { dummy, registrationToken } from '../../accounts/stages.js'
import { auth, deviceId, text } from '../../http/fields.js'
import { forbidden, guestAccessForbidden, missingParam } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'

const body = Type.Object({
  auth,
  username: Type.Optional(Type.String()),
  password: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
  device_id: Type.Optional(deviceId),
  initial_device_display_name: Type.Optional(text(512)),
  inhibit_login: Type.Optional(Type.Boolean()),
})

/**
 * POST /_matrix/client/v3/register
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
 *
 * The name is looked at before the authentication, so that nobody goes through its stages for a name that is taken, and
 * again with the insert, because others may have taken it meanwhile.
 */
export const register = endpoint({
  operationId: 'register',
  method: 'post',
  path: '/_matrix/client/v3/register',
  auth: 'none',
  query: Type.Object({ kind: Type.Optional(Type.Enum(['user', 'guest'])) }),
  body,
  rateLimit: 'registration',

  async handle(services, { query, body, ip }) {
    const { accounts, config, interactiveAuth } = services
    if (query.kind === 'guest') throw guestAccessForbidden('This server has no guests')
    if (config.registration === 'closed') throw forbidden('Registration is closed on this server')
    if (body.username !== undefined) await accounts.checkAvailable(body.username)
    if (body.auth !== undefined && body.password === undefined) throw missingParam('body.password is required')

    const result = await interactiveAuth.require(challenge(services), body.auth)
    const { userId, login } = await accounts.register({
      localpart: body.username,
      password: body.password,
      registrationToken: result.registrationToken,
      login: body.inhibit_login === true ? undefined : newLogin(body, ip),
    })
    return { user_id: userId, ...(login && { access_token: login.accessToken, device_id: login.deviceId }) }
  },
})

const newLogin = (given: Static<typeof body>, ip: string) => ({
  deviceId: given.device_id,
  displayName: given.initial_device_display_name,
  ip,
})

function challenge({ config, db }: Services): Challenge {
  const [type, stage] =
    config.registration === 'token'
      ? (['m.login.registration_token', registrationToken(db)] as const)
      : (['m.login.dummy', dummy] as const)
  return { operation: 'register', flows: [[type]], stages: { [type]: stage } }
}
