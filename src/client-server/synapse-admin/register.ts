import { Type, type Static } from 'typebox'
import type { SharedSecretRegistration } from '../../accounts/shared-secret.js'
import { text } from '../../http/fields.js'
import { MatrixError, unknown } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET and POST /_synapse/admin/v1/register, as Synapse has it: accounts for who knows REGISTRATION_SHARED_SECRET, whatever
 * REGISTRATION says. Scripts and bots are written for it.
 * https://element-hq.github.io/synapse/latest/admin_api/register_api.html
 */

const path = '/_synapse/admin/v1/register'

export const getRegistrationNonce = endpoint({
  operationId: 'synapseAdminRegisterNonce',
  method: 'get',
  path,
  auth: 'none',
  handle: ({ sharedSecretRegistration }) => ({ nonce: enabled(sharedSecretRegistration).newNonce() }),
})

const signed = Type.Object({
  nonce: Type.String(),
  username: Type.String({ minLength: 1, maxLength: 255 }),
  password: Type.String({ minLength: 1, maxLength: 512 }),
  mac: Type.String(),
  admin: Type.Optional(Type.Boolean()),
  displayname: Type.Optional(text(255)),
  user_type: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  inhibit_login: Type.Optional(Type.Boolean()),
})

export const registerBySharedSecret = endpoint({
  operationId: 'synapseAdminRegister',
  method: 'post',
  path,
  auth: 'none',
  body: signed,

  async handle({ accounts, config, sharedSecretRegistration }, { body, ip }) {
    checkSigned(enabled(sharedSecretRegistration), body)
    const { userId, login } = await accounts.register({
      localpart: body.username,
      password: body.password,
      displayName: body.displayname,
      isAdmin: body.admin === true,
      login: body.inhibit_login === true ? undefined : { displayName: undefined, ip },
    })
    return {
      user_id: userId,
      home_server: config.serverName,
      ...(login && { access_token: login.accessToken, device_id: login.deviceId }),
    }
  },
})

function enabled(registration: SharedSecretRegistration | undefined): SharedSecretRegistration {
  if (registration === undefined) throw unknown('Shared secret registration is not enabled')
  return registration
}

/** A NUL in a name or password would let one signature stand for two accounts, since NUL joins the parts. */
function checkSigned(registration: SharedSecretRegistration, body: Static<typeof signed>): void {
  if (body.username.includes('\0')) throw unknown('Invalid username')
  if (body.password.includes('\0')) throw unknown('Invalid password')
  if (!registration.isFresh(body.nonce)) throw unknown('Unrecognised nonce')
  const isAdmin = body.admin === true
  const userType = body.user_type ?? undefined
  if (!registration.isSigned({ ...body, isAdmin, userType }, body.mac)) {
    throw new MatrixError(403, 'M_UNKNOWN', 'HMAC incorrect')
  }
}
