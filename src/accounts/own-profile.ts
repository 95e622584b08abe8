import type { Kysely } from 'kysely'
import { notFound } from '../protocol/matrix-error.js'
import { account } from '../store/accounts.js'
import { profile, type Profile } from '../store/profiles.js'
import type { Tables } from '../store/tables.js'

/** The profile of a user of this server. @throws MatrixError 404 for who is none, or was deactivated. */
export async function ownProfile(db: Kysely<Tables>, userId: string): Promise<Profile> {
  const found = await account(db, userId)
  if (found === undefined || found.isDeactivated) throw notFound('There is no such user here')
  return profile(db, userId)
}
