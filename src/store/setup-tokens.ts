import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.js'

/** Links with which the first administrator is made in a browser, kept as SHA-256 of their tokens. */
export interface SetupTokenTables {
  setup_token: { token_hash: Buffer; created_ts: number }
}

/** Each start without an administrator adds one; the newest ten count. */
export async function insertSetupToken(db: Kysely<Tables>, tokenHash: Buffer, nowTs: number): Promise<void> {
  await sql`
    with old as (
      delete from setup_token
      where token_hash in (select token_hash from setup_token order by created_ts desc offset 9)
    )
    insert into setup_token (token_hash, created_ts) values (${tokenHash}, ${nowTs})
  `.execute(db)
}

export async function hasSetupToken(db: Kysely<Tables>, tokenHash: Buffer): Promise<boolean> {
  const row = await db
    .selectFrom('setup_token')
    .select('created_ts')
    .where('token_hash', '=', tokenHash)
    .executeTakeFirst()
  return row !== undefined
}

/** Takes the token out. False when it is not there: of requests at the same time, with whatever tokens, one goes on. */
export async function takeSetupToken(trx: Transaction<Tables>, tokenHash: Buffer): Promise<boolean> {
  await sql`lock table setup_token in share row exclusive mode`.execute(trx)
  const { numDeletedRows } = await trx.deleteFrom('setup_token').where('token_hash', '=', tokenHash).executeTakeFirst()
  return numDeletedRows === 1n
}

/** There is an administrator now: links that still lie in logs must make no other. */
export async function deleteSetupTokens(trx: Transaction<Tables>): Promise<void> {
  await trx.deleteFrom('setup_token').execute()
}
