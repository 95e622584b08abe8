/**
 * Invites for an address that a user of ours has just shown to be theirs, as an identity server tells of them. It signs
 * nothing but its word on whose address it is, and anybody can make one up; whether it counts is for the room of each
 * invite to say, which is asked here or at the server of who made it.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
 *
 * All that can be done is done before the identity server is answered: nothing of it is kept. What failed for now is told
 * to it as an error, so that it comes again; invites that were made stay as they are then.
 */
import type { Kysely } from 'kysely'
import { TokenBuckets } from '../accounts/token-bucket.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { ownString, type JsonObject } from '../protocol/json.js'
import { MatrixError, notFound, tryAgain } from '../protocol/matrix-error.js'
import { requireInvitesAllowed } from '../room/invite-permission.js'
import { someAtOnce } from '../some-at-once.js'
import { activeAccounts } from '../store/accounts.js'
import type { Tables } from '../store/tables.js'
import type { RemoteMemberships } from './joining/remote-memberships.js'
import { RemoteError, Unreachable } from './remote.js'

export interface BoundInvite {
  readonly mxid: string
  readonly roomId: string
  /** Who made the third-party invite. */
  readonly sender: string
  readonly signed: JsonObject
}

export interface BoundInvitesDeps {
  readonly db: Kysely<Tables>
  readonly memberships: Pick<RemoteMemberships, 'redeem'>
  readonly logger: { info(fields: object, message: string): void }
  readonly rateLimits: boolean
}

const AT_ONCE = 4
/** What is not begun by then waits for the identity server to come again. In ms. */
const TIME = 30_000
/** Of requests to a server that somebody unknown names: how much we bother it. */
const perServer = { burst: 50, perSecond: 0.5 }

export class BoundInvites {
  private readonly asked = new TokenBuckets(perServer)

  constructor(private readonly deps: BoundInvitesDeps) {}

  /** @throws MatrixError 404 for a user who is not here, 503 when some of it has to be tried again */
  async take(userId: string, invites: readonly BoundInvite[]): Promise<void> {
    const { db } = this.deps
    if (!(await activeAccounts(db, [userId])).has(userId)) throw notFound(`There is no user ${userId}`)
    if (await this.wantsNone(userId)) return
    const end = performance.now() + TIME
    const away = new Set<string>()
    let waiting = 0
    await someAtOnce(invites, AT_ONCE, async (invite) => {
      const server = serverNameOf(invite.sender) ?? ''
      const isTaken = performance.now() < end && !away.has(server) && (await this.takeOne(userId, invite, server))
      if (isTaken) return
      away.add(server)
      waiting++
    })
    if (waiting > 0) throw tryAgain(`${waiting} of ${invites.length} invites could not be handed on yet`)
  }

  /** Whoever tells of invites is not told who wants none. */
  private async wantsNone(userId: string): Promise<boolean> {
    try {
      await requireInvitesAllowed(this.deps.db, [userId])
      return false
    } catch (cause) {
      if (cause instanceof MatrixError && cause.errcode === 'M_INVITE_BLOCKED') return true
      throw cause
    }
  }

  /** False where it has to be tried again. */
  private async takeOne(userId: string, invite: BoundInvite, server: string): Promise<boolean> {
    const { memberships, logger, rateLimits } = this.deps
    const { roomId, sender, signed } = invite
    if (invite.mxid !== userId || ownString(signed, 'mxid') !== userId) return true
    if (rateLimits && this.asked.take(server) > 0) return false
    try {
      await memberships.redeem(roomId, { target: userId, signed, sender })
      return true
    } catch (cause) {
      if (!isRefusal(cause)) throw cause
      logger.info({ room_id: roomId, reason: cause.message }, 'a third-party invite was not made an invite')
      return !(cause instanceof Unreachable || cause.status >= 500 || cause.status === 429)
    }
  }
}

const isRefusal = (cause: unknown): cause is MatrixError | RemoteError | Unreachable =>
  cause instanceof MatrixError || cause instanceof RemoteError || cause instanceof Unreachable
