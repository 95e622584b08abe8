import type { Kysely } from 'kysely'
import { hasAdmin } from '../store/accounts.js'
import { hasSetupToken, insertSetupToken } from '../store/setup-tokens.js'
import type { Tables } from '../store/tables.js'
import { newSecret, sha256 } from './secrets.js'

/**
 * The link with which the first administrator is made in a browser. Each start makes one while nobody administers the
 * server, and shows it once; it is good until an administrator has been made, by whatever way.
 */
export async function newSetupToken(db: Kysely<Tables>, nowTs = Date.now()): Promise<string | undefined> {
  if (await hasAdmin(db)) return undefined
  const token = newSecret()
  await insertSetupToken(db, sha256(token), nowTs)
  return token
}

export const isSetupToken = (db: Kysely<Tables>, token: string): Promise<boolean> => hasSetupToken(db, sha256(token))
