/**
 * The server of a user who was invited by an address asks for the invite that a third-party invite of ours stands for.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
 *
 * What it sends looks like an event, and is none: it is compared with the third-party invite in the room, and the invite
 * is made of that, and of what the identity server signed.
 */
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { invalidParam } from '../protocol/matrix-error.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { requireOwnUser, roomForServer } from './room-for-server.js'
import { redeemThirdPartyInvite, type RedeemDeps } from './third-party-invites.js'

export interface ExchangeDeps extends Omit<RedeemDeps, 'db' | 'rooms'> {
  readonly inbound: { readonly deps: InboundDeps }
}

/** When it resolves, the user's server has the invite. @throws MatrixError */
export async function receiveExchange(
  { inbound: { deps }, memberships, identityServers }: ExchangeDeps,
  origin: string,
  roomId: string,
  event: JsonObject,
): Promise<void> {
  const { target, sender, signed } = exchangeIn(event, roomId)
  requireOwnUser(origin, target)
  const name = await roomForServer(deps, origin, roomId)
  const { db, rooms } = deps
  await redeemThirdPartyInvite({ db, rooms, memberships, identityServers }, name, { target, sender, signed })
}

/** @throws MatrixError M_INVALID_PARAM */
function exchangeIn(event: JsonObject, roomId: string): { target: string; sender: string; signed: JsonObject } {
  if (ownString(event, 'type') !== 'm.room.member') throw invalidParam('The event is not of type m.room.member')
  if (ownString(event, 'room_id') !== roomId) throw invalidParam('The event is not of the room of the path')
  const content = own(event, 'content')
  if (!isObject(content) || ownString(content, 'membership') !== 'invite') throw invalidParam('The event is no invite')
  const invite = own(content, 'third_party_invite')
  const signed = isObject(invite) ? own(invite, 'signed') : undefined
  if (!isObject(signed)) throw invalidParam('content.third_party_invite has no signed')
  const target = ownString(event, 'state_key')
  const sender = ownString(event, 'sender')
  if (target === undefined || sender === undefined) throw invalidParam('The event has no sender or no state_key')
  return { target, sender, signed }
}
