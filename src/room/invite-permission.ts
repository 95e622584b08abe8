import type { Kysely } from 'kysely'
import { blocksInvites, INVITE_PERMISSION } from '../protocol/invite-permission.js'
import { inviteBlocked } from '../protocol/matrix-error.js'
import { accountDataOf } from '../store/account-data.js'
import type { Tables } from '../store/tables.js'

/** @throws MatrixError 403 M_INVITE_BLOCKED when one of these users of ours wants no invites. */
export async function requireInvitesAllowed(db: Kysely<Tables>, users: readonly string[]): Promise<void> {
  const settings = await accountDataOf(db, users, INVITE_PERMISSION)
  const blocking = users.find((user) => blocksInvites(settings.get(user)))
  if (blocking !== undefined) throw inviteBlocked(blocking)
}
