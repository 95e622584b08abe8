import type { Kysely } from 'kysely'
import { serverNameOf } from '../protocol/identifiers.js'
import { forbidden, notFound } from '../protocol/matrix-error.js'
import { activeAccounts } from '../store/accounts.js'
import type { Tables } from '../store/tables.js'
import { requireInvitesAllowed } from './invite-permission.js'

/**
 * Who can be invited: users of this server that exist.
 * @throws MatrixError 403 for a user of another server, 404 for one who is not here.
 */
export async function requireInvitable(db: Kysely<Tables>, server: string, users: readonly string[]): Promise<void> {
  if (users.length === 0) return
  const foreign = users.find((user) => serverNameOf(user) !== server)
  if (foreign !== undefined) {
    throw forbidden(`${foreign} cannot be invited: this server does not exchange events with other servers yet`)
  }
  const known = await activeAccounts(db, users)
  const unknown = users.find((user) => !known.has(user))
  if (unknown !== undefined) throw notFound(`There is no user ${unknown}`)
  await requireInvitesAllowed(db, users)
}
