import type { Kysely } from 'kysely'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { badJson, forbidden, missingParam, unknown } from '../protocol/matrix-error.js'
import { isRegistrationTokenValid } from '../store/registration-tokens.js'
import type { Tables } from '../store/tables.js'
import type { Accounts } from './accounts.js'
import type { Challenge, Stage } from './interactive-auth.js'
import type { Requester } from './requester.js'

/** The stages of user-interactive authentication that this server has. */

/** https://spec.matrix.org/v1.19/client-server-api/#dummy-auth */
export const dummy: Stage = { check: () => ({}) }

/** https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration */
export const registrationToken = (db: Kysely<Tables>, nowTs: () => number = Date.now): Stage => ({
  async check(auth) {
    const token = ownString(auth, 'token')
    if (token === undefined) throw missingParam('body.auth.token is required')
    const valid = isRegistrationTokenText(token) && (await isRegistrationTokenValid(db, token, nowTs()))
    if (!valid) throw forbidden('This registration token is not valid, or has been used')
    return { registrationToken: token }
  },
})

/** The grammar of registration tokens; others are not looked up. */
export const isRegistrationTokenText = (token: string): boolean => /^[0-9A-Za-z._~-]{1,64}$/.test(token)

/**
 * That the requester knows their own password; the password of somebody else opens nothing.
 * https://spec.matrix.org/v1.19/client-server-api/#password-based
 */
export const password = (accounts: Accounts, requester: Requester, ip: string): Stage => ({
  async check(auth) {
    const text = ownString(auth, 'password')
    if (text === undefined) throw missingParam('body.auth.password is required, a string')
    const userId = accounts.userIdOf(userOf(auth))
    if (userId !== requester.userId) throw forbidden('Only your own password counts here')
    await accounts.checkPassword(userId, text, ip)
    return {}
  },
})

/** The user an `m.login.password` is about: `identifier` of type m.id.user, or `user` in old clients. */
export function userOf(login: JsonObject): string {
  const identifier = own(login, 'identifier') ?? { type: 'm.id.user', user: own(login, 'user') }
  if (!isObject(identifier)) throw badJson('body.identifier must be an object')
  const type = own(identifier, 'type')
  if (type !== 'm.id.user')
    throw unknown('body.identifier.type must be m.id.user: this server knows users by their ids')
  const user = own(identifier, 'user')
  if (user === undefined) throw missingParam('body.identifier.user is required')
  if (typeof user !== 'string' || user.includes('\0')) throw badJson('body.identifier.user must be a string, a user id')
  return user
}

/** Proof by password, for what a stolen access token must not be enough for. */
export const byPassword = (operation: string, accounts: Accounts, requester: Requester, ip: string): Challenge => ({
  operation: `${operation} ${requester.userId}`,
  flows: [['m.login.password']],
  stages: { 'm.login.password': password(accounts, requester, ip) },
})
