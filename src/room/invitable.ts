import type { Kysely } from 'kysely'
import { notFound } from '../protocol/matrix-error.js'
import { activeAccounts } from '../store/accounts.js'
import type { Tables } from '../store/tables.js'
import { requireInvitesAllowed } from './invite-permission.js'

/**
 * Which users of this server can be invited: those that exist, and want to be.
 * @throws MatrixError 404, 403 M_INVITE_BLOCKED
 */
export async function requireInvitable(db: Kysely<Tables>, users: readonly string[]): Promise<void> {
  if (users.length === 0) return
  const known = await activeAccounts(db, users)
  const unknown = users.find((user) => !known.has(user))
  if (unknown !== undefined) throw notFound(`There is no user ${unknown}`)
  await requireInvitesAllowed(db, users)
}
