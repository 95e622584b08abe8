import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.js'

/**
 * Tokens with which accounts may be made where REGISTRATION=token. A token is good while it has not expired and has uses
 * left, and a use is taken already when a client has shown the token and not yet registered: the session of its
 * user-interactive authentication holds it until it ends.
 * https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
 */
export interface RegistrationTokenTables {
  registration_token: {
    token: string
    uses_allowed: number | null
    completed: number
    expires_ts: number | null
    created_ts: number
  }
}

export interface NewRegistrationToken {
  readonly token: string
  /** Undefined: any number. */
  readonly usesAllowed: number | undefined
  /** Undefined: never. */
  readonly expiresTs: number | undefined
}

export async function insertRegistrationToken(
  db: Kysely<Tables>,
  { token, usesAllowed, expiresTs }: NewRegistrationToken,
  nowTs: number,
): Promise<'inserted' | 'exists'> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('registration_token')
    .values({
      token,
      uses_allowed: usesAllowed ?? null,
      completed: 0,
      expires_ts: expiresTs ?? null,
      created_ts: nowTs,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return numInsertedOrUpdatedRows === 1n ? 'inserted' : 'exists'
}

/** Whether the token would be taken from a client that shows it now. */
export async function isRegistrationTokenValid(db: Kysely<Tables>, token: string, nowTs: number): Promise<boolean> {
  const { rows } = await sql<{ valid: boolean }>`
    select ${unexpired(nowTs)} and (uses_allowed is null or completed + pending < uses_allowed) as valid
    from registration_token
    cross join lateral (
      select count(*) as pending from interactive_auth_session
      where registration_token = token and interactive_auth_session.expires_ts > ${nowTs}
    ) as sessions
    where token = ${token}
  `.execute(db)
  return rows[0]?.valid ?? false
}

/** Counts a use, with the account it makes. False when the token is good for none: the transaction is to be undone. */
export async function useRegistrationToken(trx: Transaction<Tables>, token: string, nowTs: number): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update registration_token set completed = completed + 1
    where token = ${token} and ${unexpired(nowTs)} and (uses_allowed is null or completed < uses_allowed)
  `.execute(trx)
  return numAffectedRows === 1n
}

const unexpired = (nowTs: number) =>
  sql<boolean>`(registration_token.expires_ts is null or registration_token.expires_ts > ${nowTs})`
