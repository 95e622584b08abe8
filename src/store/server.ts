import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './tables.js'

/** The identity of this server: one row, and the keys it signed with before. See schema/0001-server.sql. */
export interface ServerTables {
  server: {
    only_row: boolean
    server_name: string
    signing_key_id: string
    signing_public_key: Buffer
    log_epoch: string
    state_identity_key: Buffer
    created_ts: number
  }
  old_verify_key: { key_id: string; public_key: Buffer; expired_ts: number }
}

export interface ServerRecord {
  readonly serverName: string
  readonly signingKeyId: string
  readonly signingPublicKey: Uint8Array
  readonly logEpoch: string
  /** 32 bytes. */
  readonly stateIdentityKey: Uint8Array
  readonly createdTs: number
}

/** Undefined before the first start. */
export async function serverRecord(db: Kysely<Tables>): Promise<ServerRecord | undefined> {
  const row = await db
    .selectFrom('server')
    .select(['server_name', 'signing_key_id', 'signing_public_key', 'log_epoch', 'state_identity_key', 'created_ts'])
    .executeTakeFirst()
  return (
    row && {
      serverName: row.server_name,
      signingKeyId: row.signing_key_id,
      signingPublicKey: row.signing_public_key,
      logEpoch: row.log_epoch,
      stateIdentityKey: row.state_identity_key,
      createdTs: row.created_ts,
    }
  )
}

/** Writes the row unless another process was first; what counts is what `serverRecord` says afterwards. */
export async function recordServer(db: Kysely<Tables>, record: ServerRecord): Promise<void> {
  await db
    .insertInto('server')
    .values({
      only_row: true,
      server_name: record.serverName,
      signing_key_id: record.signingKeyId,
      signing_public_key: Buffer.from(record.signingPublicKey),
      log_epoch: record.logEpoch,
      state_identity_key: Buffer.from(record.stateIdentityKey),
      created_ts: record.createdTs,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** The keys this server signed with before. */
export async function oldVerifyKeys(
  db: Kysely<Tables>,
): Promise<{ readonly keyId: string; readonly publicKey: Uint8Array; readonly expiredTs: number }[]> {
  const rows = await db.selectFrom('old_verify_key').selectAll().orderBy('key_id').execute()
  return rows.map((row) => ({ keyId: row.key_id, publicKey: row.public_key, expiredTs: row.expired_ts }))
}

/** The key of the row becomes an old one and the given one takes its place. */
export async function replaceSigningKey(
  trx: Transaction<Tables>,
  key: { keyId: string; publicKey: Uint8Array },
  nowTs: number,
): Promise<void> {
  const old = await trx
    .selectFrom('server')
    .select(['signing_key_id as key_id', 'signing_public_key as public_key'])
    .forUpdate()
    .executeTakeFirstOrThrow()
  await trx
    .insertInto('old_verify_key')
    .values({ ...old, expired_ts: nowTs })
    .onConflict((conflict) => conflict.column('key_id').doUpdateSet({ expired_ts: nowTs }))
    .execute()
  await trx
    .updateTable('server')
    .set({ signing_key_id: key.keyId, signing_public_key: Buffer.from(key.publicKey) })
    .execute()
}
