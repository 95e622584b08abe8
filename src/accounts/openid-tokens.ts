/**
 * Tokens with which a user shows another service who they are: the service asks us whose token it was given.
 * https://spec.matrix.org/v1.19/client-server-api/#openid
 */
import type { Kysely } from 'kysely'
import { insertOpenIdToken, openIdTokenOwner } from '../store/openid-tokens.js'
import type { Tables } from '../store/tables.js'
import { newOpenIdToken, sha256 } from './secrets.js'

/** In seconds. */
export const OPENID_TOKEN_LIFETIME = 3_600

export async function makeOpenIdToken(db: Kysely<Tables>, userId: string, nowTs = Date.now()): Promise<string> {
  const token = newOpenIdToken()
  const expires_ts = nowTs + OPENID_TOKEN_LIFETIME * 1_000
  await insertOpenIdToken(db, { token_hash: sha256(token), user_id: userId, expires_ts })
  return token
}

/** undefined for a token that tells nothing, or no more. */
export const userOfOpenIdToken = (db: Kysely<Tables>, token: string, nowTs = Date.now()): Promise<string | undefined> =>
  openIdTokenOwner(db, sha256(token), nowTs)
