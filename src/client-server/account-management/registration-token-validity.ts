import { Type } from 'typebox'
import { isRegistrationTokenText } from '../../accounts/stages.js'
import { forbidden } from '../../protocol/matrix-error.js'
import { isRegistrationTokenValid } from '../../store/registration-tokens.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v1/register/m.login.registration_token/validity
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
 */
export const registrationTokenValidity = endpoint({
  operationId: 'registrationTokenValidity',
  method: 'get',
  path: '/_matrix/client/v1/register/m.login.registration_token/validity',
  auth: 'none',
  query: Type.Object({ token: Type.String() }),
  rateLimit: 'name-lookup',

  async handle({ config, db }, { query: { token } }) {
    if (config.registration === 'closed') throw forbidden('Registration is closed on this server')
    return { valid: isRegistrationTokenText(token) && (await isRegistrationTokenValid(db, token, Date.now())) }
  },
})
