import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './tables.js'

/** Accounts of local users. Rows are never deleted, so that nobody can take the name of a user who is gone. */
export interface AccountTables {
  account: {
    user_id: string
    password_hash: string | null
    is_admin: boolean
    created_ts: number
    deactivated_ts: number | null
  }
}

export interface Account {
  readonly userId: string
  /** PHC string; undefined: no password opens the account. */
  readonly passwordHash: string | undefined
  readonly isAdmin: boolean
  readonly isDeactivated: boolean
}

/** A deactivated account is one, too. */
export async function account(db: Kysely<Tables>, userId: string): Promise<Account | undefined> {
  const row = await db.selectFrom('account').selectAll().where('user_id', '=', userId).executeTakeFirst()
  if (row === undefined) return undefined
  return {
    userId: row.user_id,
    passwordHash: row.password_hash ?? undefined,
    isAdmin: row.is_admin,
    isDeactivated: row.deactivated_ts !== null,
  }
}

/** Which of the users have an account here that is not deactivated. */
export async function activeAccounts(db: Kysely<Tables>, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await db
    .selectFrom('account')
    .select('user_id')
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .where('deactivated_ts', 'is', null)
    .execute()
  return new Set(rows.map((row) => row.user_id))
}

/** Whether somebody administers this server. */
export async function hasAdmin(db: Kysely<Tables>): Promise<boolean> {
  const row = await db
    .selectFrom('account')
    .select('user_id')
    .where('is_admin', '=', true)
    .where('deactivated_ts', 'is', null)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

export interface NewAccount {
  readonly userId: string
  readonly passwordHash: string | undefined
  readonly isAdmin: boolean
}

/** 'exists' when the name is taken, also by an account that was deactivated. */
export async function insertAccount(
  trx: Transaction<Tables>,
  { userId, passwordHash, isAdmin }: NewAccount,
  nowTs: number,
): Promise<'inserted' | 'exists'> {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('account')
    .values({
      user_id: userId,
      password_hash: passwordHash ?? null,
      is_admin: isAdmin,
      created_ts: nowTs,
      deactivated_ts: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return numInsertedOrUpdatedRows === 1n ? 'inserted' : 'exists'
}

export async function setPasswordHash(trx: Transaction<Tables>, userId: string, passwordHash: string): Promise<void> {
  await trx.updateTable('account').set({ password_hash: passwordHash }).where('user_id', '=', userId).execute()
}
