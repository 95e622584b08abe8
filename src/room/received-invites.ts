/**
 * Invites by users of other servers for users of ours. Our signature on the event says that this server has heard of the
 * invite; whoever has it can show it to everybody, so nothing is signed but an invite of one of our users by a user of the
 * server that asks, hashed and signed by that server.
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 *
 * Where nobody of ours is in the room, the invite is a membership with its stripped state and no event. Where somebody is,
 * the event itself is taken in, as if it had come in a transaction already; when it does, it is known.
 */
import { LRUCache } from 'lru-cache'
import { TokenBuckets } from '../accounts/token-bucket.js'
import { canonicalJson } from '../protocol/canonical-json.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { incompatibleRoomVersion, invalidParam, limitExceeded, notFound, tooLarge } from '../protocol/matrix-error.js'
import { checkSize } from '../protocol/pdu.js'
import type { RoomEvent } from '../protocol/room-event.js'
import { rulesOf, type RoomVersionRules } from '../protocol/room-versions.js'
import { activeAccounts } from '../store/accounts.js'
import { membershipIn } from '../store/memberships.js'
import { sharesRoom } from '../store/room-servers.js'
import { roomNumber } from '../store/rooms.js'
import type { Inbound } from './inbound/inbound.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { signAsWell } from './inbound/own-signature.js'
import { isDropped, readPdu, type Pdu } from './inbound/read-pdu.js'
import { isSignedBy, keyIdsOf, MAX_SIGNATURES_OF_SERVER } from './inbound/signatures.js'
import { inviteState } from './invite-state.js'
import { requireInvitesAllowed } from './invite-permission.js'
import type { KnownRoom } from './known-room.js'
import { orTryAgain, refusalOf, requireContentHash } from './received-memberships.js'
import { residentRoom } from './room-for-server.js'

export interface ReceivedInvite {
  /** The server that signed the request. */
  readonly origin: string
  readonly roomId: string
  readonly eventId: string
  /** Of the room, as the origin says; undefined: 1 or 2. */
  readonly version: string | undefined
  /** The PDU as it came, read by `parseExactJson`. */
  readonly event: JsonObject
  /** `invite_room_state`, whatever it is. */
  readonly state: Json | undefined
}

/** Of a server with whose users ours share no room: such invites are what spammers send. */
const strangersRate = { burst: 20, perSecond: 0.05 }

export class ReceivedInvites {
  private readonly strangers = new TokenBuckets(strangersRate)
  /** Whether a server shares a room with this one, for a while. */
  private readonly sharing = new LRUCache<string, boolean>({ max: 1_000, ttl: 60_000 })

  constructor(
    private readonly inbound: Inbound,
    private readonly options: { readonly rateLimits: boolean },
  ) {}

  /** The event with our signature as well, as JSON; all else as it came. @throws MatrixError */
  async receive(invite: ReceivedInvite): Promise<string> {
    const { deps } = this.inbound
    await this.requireCalm(invite.origin)
    const { version = '1' } = invite
    const rules = rulesOf(version)
    if (rules === undefined) throw incompatibleRoomVersion(version)
    const name = await residentRoom(deps, invite.roomId)
    if (name !== undefined) await requireSameRoom(deps, name, invite)
    const pdu = readPdu(rules, invite.roomId, invite.event)
    if (isDropped(pdu)) throw refusalOf(pdu)
    const target = requireInvite(deps, pdu.event, invite)
    await requireKnownTarget(deps, target)
    requireContentHash({ rules }, pdu)
    await requireSignature(deps, rules, pdu, invite.origin)
    const state = await inviteState(deps, rules, pdu.event, invite.state)
    const signed = await signAsWell(deps.rooms.deps.server, rules, pdu)
    if (!checkSize(signed.text).allowed) throw tooLarge('The event is too large with another signature')
    if (!(await this.remember(pdu.event, target, state))) await this.inbound.transaction(invite.origin, [signed.text])
    return canonicalJson({ ...invite.event, signatures: own(signed.event.pdu, 'signatures') }, 'any')
  }

  /** @throws MatrixError 429 */
  private async requireCalm(origin: string): Promise<void> {
    if (!this.options.rateLimits) return
    const wait = this.strangers.take(origin)
    if (wait > 0 && !(await this.sharesRoom(origin))) throw limitExceeded(wait)
  }

  private async sharesRoom(server: string): Promise<boolean> {
    const known = this.sharing.get(server)
    if (known !== undefined) return known
    const shares = await sharesRoom(this.inbound.deps.db, server)
    this.sharing.set(server, shares)
    return shares
  }

  /**
   * Told to the user anew, unless it is the invite they have: its server asked again. False when it is for the room to
   * take: asking for keys takes its time, and somebody has joined meanwhile.
   */
  private async remember(event: RoomEvent, user: string, strippedState: string): Promise<boolean> {
    const { db, rooms } = this.inbound.deps
    const { roomId, eventId: unheldEventId, sender } = event
    const room = await roomNumber(db, roomId)
    const invited = { room, user, membership: 'invite', sender, strippedState, unheldEventId } as const
    for (;;) {
      // In this order: who joins after the look at the room has another membership than the one that was seen.
      const before = await membershipIn(db, room, user)
      if ((await residentRoom(this.inbound.deps, roomId)) !== undefined) return false
      const isSame = before?.strippedState === strippedState && before.unheldEventId === unheldEventId
      if (before?.membership === 'invite' && isSame) return true
      if (await rooms.deps.writer.writeMembership(invited, before?.position)) return true
    }
  }
}

/** @throws MatrixError 403 for a server that the room's ACL denies, 400 when it takes the room for another version. */
async function requireSameRoom(
  { acls }: InboundDeps,
  name: KnownRoom,
  { origin, version }: ReceivedInvite,
): Promise<void> {
  await acls.require(name, origin)
  const isSame = version === undefined ? ['1', '2'].includes(name.rules.version) : version === name.rules.version
  if (!isSame) throw invalidParam(`The room is of version ${name.rules.version}`)
}

/** Whom it invites. @throws MatrixError M_INVALID_PARAM */
function requireInvite({ serverName }: InboundDeps, event: RoomEvent, { origin, eventId }: ReceivedInvite): string {
  if (event.eventId !== eventId) throw invalidParam(`The event is ${event.eventId}, not that of the path`)
  if (event.type !== 'm.room.member') throw invalidParam('The event is not of type m.room.member')
  if (ownString(event.content, 'membership') !== 'invite') throw invalidParam('The event is no invite')
  if (serverNameOf(event.sender) !== origin) throw invalidParam(`The sender is not a user of ${origin}`)
  const { stateKey = '' } = event
  if (serverNameOf(stateKey) !== serverName) throw invalidParam('The event invites no user of this server')
  return stateKey
}

/** @throws MatrixError 404 for a user who is not here, 403 M_INVITE_BLOCKED for one who wants no invites. */
async function requireKnownTarget({ db }: InboundDeps, user: string): Promise<void> {
  if (!(await activeAccounts(db, [user])).has(user)) throw notFound(`There is no user ${user}`)
  await requireInvitesAllowed(db, [user])
}

/** Of its sender's server, also on an invite by a third party, which a room would take without. @throws MatrixError */
async function requireSignature(
  { asking }: InboundDeps,
  rules: RoomVersionRules,
  pdu: Pdu,
  origin: string,
): Promise<void> {
  const keyIds = keyIdsOf(pdu.event, origin)
  const isFew = keyIds.length <= MAX_SIGNATURES_OF_SERVER
  const { originServerTs } = pdu.event
  const keys = isFew ? await orTryAgain(asking.keys(origin, keyIds, originServerTs)) : undefined
  if (keys === undefined || !(await isSignedBy(rules, pdu, origin, keys))) {
    throw invalidParam(`The event has no valid signature of ${origin}`)
  }
}
