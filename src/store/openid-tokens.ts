import type { Kysely } from 'kysely'
import type { Tables } from './tables.js'

/** Tokens with which users show other services who they are, kept as their SHA-256. */
export interface OpenIdTokenTables {
  openid_token: { token_hash: Buffer; user_id: string; expires_ts: number }
}

export async function insertOpenIdToken(db: Kysely<Tables>, token: OpenIdTokenTables['openid_token']): Promise<void> {
  await db.insertInto('openid_token').values(token).execute()
}

/** undefined for a token that is not known, that has expired, or whose user was deactivated. */
export async function openIdTokenOwner(
  db: Kysely<Tables>,
  tokenHash: Buffer,
  nowTs: number,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('openid_token')
    .innerJoin('account', 'account.user_id', 'openid_token.user_id')
    .select('account.user_id')
    .where('token_hash', '=', tokenHash)
    .where('expires_ts', '>', nowTs)
    .where('deactivated_ts', 'is', null)
    .executeTakeFirst()
  return row?.user_id
}
