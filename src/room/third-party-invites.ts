/**
 * Third-party invites: somebody is invited by an address, and whoever can show an identity server's signature that the
 * address is theirs is invited by it. https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
 *
 * The invite is an event of whoever made the offer (`m.room.third_party_invite`), wherever they are; the server that is
 * shown the signature makes it. All that is taken from outside is what a key of the offer signed.
 */
import { ThirdPartyInviteTooCostly, vouchersOf, type Voucher } from '../protocol/authorization/index.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { own, ownString, type JsonObject } from '../protocol/json.js'
import { forbidden } from '../protocol/matrix-error.js'
import { profile } from '../store/profiles.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom } from './known-room.js'
import { memberContent } from './member-content.js'
import type { InviteDeps } from './membership-changes.js'

/** Whether identity servers stand by their keys. */
export interface IdentityKeys {
  /** By the key's `key_validity_url`. @throws MatrixError 502 where it cannot be asked */
  isValid(validityUrl: string, publicKey: string): Promise<boolean>
}

export interface RedeemDeps extends InviteDeps {
  readonly identityServers: IdentityKeys
}

export interface Redeemed {
  /** Who is to be invited. */
  readonly target: string
  /** An identity server's word on it. */
  readonly signed: JsonObject
  /** Who is said to have made the offer. Undefined: nothing is said of it. */
  readonly sender?: string | undefined
}

/** Most offers have a key of the identity server's and one of this invite alone. */
const MOST_KEYS_ASKED = 2

/**
 * Who is invited or joined already stays so.
 * @throws MatrixError 403; 502 where an identity server cannot be asked; for a user of another server, what that says.
 */
export async function redeemThirdPartyInvite(deps: RedeemDeps, name: KnownRoom, redeemed: Redeemed): Promise<void> {
  const { db, rooms, memberships } = deps
  const { target, signed } = redeemed
  if (ownString(signed, 'mxid') !== target) throw forbidden(`The identity server's word is not on ${target}`)
  const offer = await offerFor(deps, name, redeemed)
  const member = await rooms.currentState(name, 'm.room.member', target)
  if (isIn(member)) return
  requireUnused(offer, member)
  const voucher = await validVoucher(deps, offer, signed)

  const invite = { display_name: own(offer.event.content, 'display_name') ?? '', signed: voucher.signed }
  const more = { third_party_invite: invite }
  if (serverNameOf(target) !== rooms.deps.server.name) {
    await refusedWhenTooCostly(memberships.invite(name, offer.event.sender, target, more))
    return
  }
  const content = memberContent('invite', await profile(db, target), more)
  await refusedWhenTooCostly(rooms.changeMembership(name, offer.event.sender, target, content))
}

/**
 * "If a third_party_signed was supplied, the homeserver must verify that it matches a pending m.room.third_party_invite
 * event in the room."
 */
async function offerFor(
  { rooms }: RedeemDeps,
  name: KnownRoom,
  { target, signed, sender }: Redeemed,
): Promise<StoredEvent> {
  const token = ownString(signed, 'token')
  const offer = token === undefined ? undefined : await rooms.currentState(name, 'm.room.third_party_invite', token)
  if (offer === undefined) throw forbidden('The room has no such third-party invite')
  const made = offer.event.sender
  if (sender !== undefined && sender !== made) throw forbidden(`${sender} did not make the third-party invite`)
  const ours = rooms.deps.server.name
  // The server of the target takes an invite of none but the inviter's.
  if (serverNameOf(target) !== ours && serverNameOf(made) !== ours)
    throw forbidden(`The third-party invite is for the server of ${made} to exchange`)
  return offer
}

function isIn(member: StoredEvent | undefined): boolean {
  const membership = member && ownString(member.event.content, 'membership')
  return membership === 'join' || membership === 'invite'
}

/**
 * Everybody in the room has the identity server's word: it would bring back who was put out, and as often as anybody
 * likes. So an offer is used up by what became of its user after it was made.
 */
function requireUnused(offer: StoredEvent, member: StoredEvent | undefined): void {
  if (member === undefined || ownString(member.event.content, 'membership') !== 'leave') return
  // Events without a position were there when this server came into the room.
  if ((member.position ?? 0) < (offer.position ?? 0)) return
  throw forbidden('The third-party invite has been used')
}

/** @throws MatrixError 403 when no key of the offer fits, or its owner stands by none of those that do; 502 */
async function validVoucher({ identityServers }: RedeemDeps, offer: StoredEvent, signed: JsonObject): Promise<Voucher> {
  const found = async () => vouchersOf(offer.event, signed)
  const vouchers = await refusedWhenTooCostly(found())
  if (vouchers.length === 0) throw forbidden('The identity server of the invite did not sign this')
  for (const voucher of vouchers.slice(0, MOST_KEYS_ASKED)) {
    const { publicKey, validityUrl } = voucher.key
    if (validityUrl === undefined) return voucher
    if (typeof validityUrl === 'string' && (await identityServers.isValid(validityUrl, publicKey))) return voucher
  }
  throw forbidden('The key that signed this is not valid any more')
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
