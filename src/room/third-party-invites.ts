/**
 * Third-party invites: somebody is invited by an address, and whoever can show an identity server's signature that the
 * address is theirs is invited by it. https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
 */
import { ThirdPartyInviteTooCostly } from '../protocol/authorization/third-party-invite.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { own, ownString, type JsonObject } from '../protocol/json.js'
import { forbidden } from '../protocol/matrix-error.js'
import { profile } from '../store/profiles.js'
import type { KnownRoom } from './known-room.js'
import { memberContent } from './member-content.js'
import type { MembershipDeps } from './membership-changes.js'

/**
 * "If a third_party_signed was supplied, the homeserver must verify that it matches a pending m.room.third_party_invite
 * event in the room." The invite is sent for whoever sent that event; whether the signature fits is for the rules to say.
 *
 * @throws MatrixError 403
 */
export async function redeemThirdPartyInvite(
  { db, rooms }: MembershipDeps,
  name: KnownRoom,
  userId: string,
  signed: JsonObject,
): Promise<void> {
  const token = ownString(signed, 'token')
  const offer = token === undefined ? undefined : await rooms.currentState(name, 'm.room.third_party_invite', token)
  if (offer === undefined) throw forbidden('The room has no such third-party invite')
  const { sender, content } = offer.event
  if (serverNameOf(sender) !== rooms.deps.server.name) {
    throw forbidden('The invite is of another server, and this one does not exchange events with other servers yet')
  }
  const invite = { display_name: own(content, 'display_name') ?? '', signed }
  const member = memberContent('invite', await profile(db, userId), { third_party_invite: invite })
  await refusedWhenTooCostly(rooms.changeMembership(name, sender, userId, member))
}

/** What no verdict is passed on in an event of another server is refused to a client. */
export async function refusedWhenTooCostly<T>(sending: Promise<T>): Promise<T> {
  try {
    return await sending
  } catch (cause) {
    if (cause instanceof ThirdPartyInviteTooCostly) throw forbidden('The invite has too many signatures')
    throw cause
  }
}
