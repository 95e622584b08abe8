/**
 * Joining, leaving, knocking on and inviting into rooms where other servers have to take part.
 *
 * A room in which this server has a joined user is its own to change: then these are events like any other. Otherwise the
 * servers that may be in the room are asked one after the other. What our users hear when all fail is the error of the
 * server that came furthest, in our words.
 */
import { serverNameOf } from '../../protocol/identifiers.js'
import { isObject, own, ownString, type JsonObject } from '../../protocol/json.js'
import { forbidden, MatrixError, notFound } from '../../protocol/matrix-error.js'
import { allow } from '../../protocol/verdict.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { OneAtATime } from '../../one-at-a-time.js'
import { settledWithin } from '../../settled-within.js'
import { Budget } from '../../room/inbound/asking.js'
import { carryOver } from '../../room/carry-over.js'
import { enter, Overtaken } from '../../room/inbound/entering.js'
import { Fetching } from '../../room/inbound/fetching.js'
import { fillGap } from '../../room/inbound/fill-gap.js'
import type { InboundDeps } from '../../room/inbound/inbound-deps.js'
import { NotNow } from '../../room/inbound/not-now.js'
import type { PartialJoins } from '../../room/inbound/partial-joins.js'
import { isDropped, type Pdu } from '../../room/inbound/read-pdu.js'
import type { PduText } from '../../room/inbound/peers.js'
import { checkPdu, checkPolicy, readSignedPdu, receive } from '../../room/inbound/receive-pdu.js'
import { keysOfBatch } from '../../room/inbound/keys-of-batch.js'
import { keysWithOwn } from '../../room/inbound/own-signature.js'
import { isKnown, type KnownRoom } from '../../room/known-room.js'
import { memberContent } from '../../room/member-content.js'
import { join, knock, leave, leaveUnheld } from '../../room/membership-changes.js'
import { knockState } from '../../room/invite-state.js'
import { proposeEvent } from '../../room/proposed-event.js'
import { orTryAgain } from '../../room/received-memberships.js'
import { residentRoom } from '../../room/room-for-server.js'
import { joinGrant } from '../../room/restricted-join.js'
import { redeemThirdPartyInvite, type IdentityKeys, type Redeemed } from '../../room/third-party-invites.js'
import { joinedOfServer, membershipIn } from '../../store/memberships.js'
import { profile } from '../../store/profiles.js'
import { roomNumber } from '../../store/rooms.js'
import type { RoomName } from '../../store/room-names.js'
import type { StoredEvent } from '../../store/stored-event.js'
import { forgetUntoldLeave, keepUntoldLeave, takeUntoldLeaves, type UntoldLeave } from '../../store/untold-leaves.js'
import { relayed } from '../relayed-errors.js'
import type { RemoteQueries } from '../remote-queries.js'
import { RemoteError, Unreachable, type Remote } from '../remote.js'
import { exchangeThirdPartyInvite } from './exchange-third-party-invite.js'
import { makeEvent, type Made, type Wanted } from './handshake.js'
import { failureOf, furthest, inviteRefused, refusalOf } from './refusals.js'
import { Residents } from './residents.js'
import { sendInvite } from './send-invite.js'
import { sendJoin } from './send-join.js'
import { sendKnock, sendLeave } from './send-membership.js'

export interface RemoteMembershipsDeps {
  readonly remote: Remote
  readonly queries: Pick<RemoteQueries, 'resolveAlias'>
  readonly identityServers: IdentityKeys
  readonly inbound: InboundDeps
  /** Fetches the members of rooms that we came into without them. */
  readonly partialJoins?: Pick<PartialJoins, 'wake'>
}

/** What a client says of the room it wants to get into. */
export interface Destination {
  readonly roomIdOrAlias: string
  /** Servers that may be in it. */
  readonly via: readonly string[]
}

interface Found {
  readonly roomId: string
  readonly via: readonly string[]
}

/** Candidates are asked one after the other, somebody waits: after so long no other is asked. In ms. */
const LOOKING = 60_000
/** Who comes into a room does not wait longer for others of ours who are coming into it, in ms. */
const PATIENCE = 20_000
/** Who leaves does not wait longer for other servers, in ms: what they have to be told they are told in the end. */
const PATIENCE_OF_LEAVE = 3_000
/** Leaves that are left over and told at once. */
const TOLD_AT_ONCE = 20

export class RemoteMemberships {
  /** By room and user. */
  private readonly oneAtATime = new OneAtATime()
  /** By room: joins that the room's servers are about to take. */
  private readonly entering = new OneAtATime()
  private readonly residents: Residents
  private readonly telling = new Set<Promise<void>>()
  private readonly closing = new AbortController()

  constructor(private readonly deps: RemoteMembershipsDeps) {
    this.residents = new Residents(deps.inbound)
  }

  /** Resolves with the room's id, when it can be used. `signed`: an identity server's word on whom an invite is for. */
  async join(
    userId: string,
    destination: Destination,
    more: JsonObject,
    signed?: JsonObject,
    signal?: AbortSignal,
  ): Promise<string> {
    const found = await this.found(destination, signal)
    if (signed !== undefined) await this.present(found.roomId, userId, signed, signal)
    const { roomId, name, candidates } = await this.placed(userId, found)
    if (name !== undefined && isKnown(name) && (candidates.length === 0 || (await this.letsIn(name, userId)))) {
      await join(this.deps.inbound, name, userId, more)
      return roomId
    }
    await this.oneAtATime.run(JSON.stringify([roomId, userId]), async () => {
      await this.entering.ended(roomId, PATIENCE)
      if (await this.joinHere(roomId, userId, more)) return
      const content = memberContent('join', await profile(this.deps.inbound.db, userId), more)
      const wanted = { membership: 'join', roomId, userId, content } as const
      await this.handshake(wanted, candidates, (resident, made) => this.enter(resident, made, more), signal)
    })
    return roomId
  }

  /** Users of ours come into a room one after the other: who comes after the first needs no other server. */
  private enter(resident: string, made: Made, more: JsonObject): Promise<void> {
    const { roomId, sender } = made.pdu.event
    const entering = async () => {
      if (await this.joinHere(roomId, sender, more)) return
      await this.completeJoin(resident, made)
      await carryOver(this.deps.inbound, await this.deps.inbound.rooms.named(roomId), sender)
    }
    return this.entering.run(roomId, entering, PATIENCE)
  }

  /** False unless somebody of ours is in the room by now, and the user can join them. */
  private async joinHere(roomId: string, userId: string, more: JsonObject): Promise<boolean> {
    const known = await this.deps.inbound.stores.names.find(roomId)
    if (known === undefined || !isKnown(known) || !(await this.letsIn(known, userId))) return false
    await join(this.deps.inbound, known, userId, more)
    return true
  }

  /** Users of ours are in the room, and it is none that only other servers can let the user into. */
  private async letsIn(name: KnownRoom, userId: string): Promise<boolean> {
    if (!(await this.isIn(name))) return false
    const { db, rooms } = this.deps.inbound
    // Whether they are banned, or invited, is not known before.
    if ((await membershipIn(db, name.room, userId))?.membership !== 'join') await rooms.requireWhole(name)
    const { kind } = await joinGrant(this.deps.inbound.rooms, name, userId)
    return kind !== 'unable to grant' && kind !== 'unable to tell'
  }

  async knock(userId: string, destination: Destination, more: JsonObject, signal?: AbortSignal): Promise<string> {
    const found = await this.found(destination, signal)
    const { roomId, name, candidates } = await this.placed(userId, found)
    if (name !== undefined && isKnown(name) && ((await this.isIn(name)) || candidates.length === 0)) {
      await knock(this.deps.inbound, name, userId, more)
      return roomId
    }
    const content = memberContent('knock', await profile(this.deps.inbound.db, userId), more)
    const wanted = { membership: 'knock', roomId, userId, content } as const
    await this.oneAtATime.run(JSON.stringify([roomId, userId]), () =>
      this.handshake(wanted, candidates, (resident, made) => this.completeKnock(resident, made), signal),
    )
    return roomId
  }

  /**
   * Leaves a room, declines an invite, takes back a knock. Where no server takes the leave, the invite or the knock is gone
   * for the user all the same. It goes on when its client has gone, or has been answered, and for a day after that.
   */
  async leave(userId: string, roomId: string, more: JsonObject): Promise<void> {
    const { stores, db, now } = this.deps.inbound
    const name = await stores.names.find(roomId)
    if (name === undefined) throw notFound('This server does not know the room')
    const candidates = await this.residents.candidates(roomId, name, userId, [])
    if (isKnown(name) && ((await this.isIn(name)) || candidates.length === 0)) {
      return leave(this.deps.inbound, name, userId, more)
    }
    const current = await membershipIn(db, name.room, userId)
    if (current?.membership === 'invite' || current?.membership === 'knock') {
      const { position } = current
      const untold = { roomId, room: name.room, userId, position, content: more, servers: candidates }
      await keepUntoldLeave(db, untold, now())
      await settledWithin(PATIENCE_OF_LEAVE, this.tell(untold))
    }
    await leaveUnheld(this.deps.inbound, name, userId, more)
  }

  /** Begins to tell what is still to be told: a server was away, or the process that was to tell it died. */
  async poll(): Promise<void> {
    const { db, now } = this.deps.inbound
    for (const untold of await takeUntoldLeaves(db, now(), TOLD_AT_ONCE)) void this.tell(untold, true)
  }

  private tell(untold: UntoldLeave, isLeftOver = false): Promise<void> {
    const telling = this.tellLeave(untold, isLeftOver).finally(() => this.telling.delete(telling))
    this.telling.add(telling)
    return telling
  }

  /** Tells the room that the user does not want this invite, or this knock, any more. Fails in silence. */
  private async tellLeave(untold: UntoldLeave, isLeftOver: boolean): Promise<void> {
    const { inbound, remote } = this.deps
    const { db, logger } = inbound
    const { roomId, room, userId, position, content } = untold
    const wanted = { membership: 'leave', roomId, userId, content } as const
    const { signal } = this.closing
    const complete = async (resident: string, made: Made) => {
      // They may have been invited again meanwhile, or have joined.
      const current = await membershipIn(db, room, userId)
      const isStillWanted = current?.position === position || current?.membership === 'leave'
      if (isStillWanted) await sendLeave(remote, resident, made, signal)
    }
    try {
      if (isLeftOver) await this.leaveLeftOver(untold)
      await this.handshake(wanted, untold.servers, complete, signal)
      await forgetUntoldLeave(db, untold)
    } catch (cause) {
      if (!(cause instanceof MatrixError)) {
        logger.error({ err: cause, room_id: roomId }, 'an invite could not be refused in its room')
        return
      }
      logger.info({ room_id: roomId, reason: cause.message }, 'no server took the refusal of an invite')
      // It has heard of it otherwise, or nobody is invited there.
      if (cause.status === 403) await forgetUntoldLeave(db, untold)
    }
  }

  /** The process may have died before it wrote that the user has left. */
  private async leaveLeftOver({ roomId, room, userId, position, content }: UntoldLeave): Promise<void> {
    const { inbound } = this.deps
    const name = await inbound.stores.names.find(roomId)
    const current = await membershipIn(inbound.db, room, userId)
    if (name !== undefined && current?.position === position) await leaveUnheld(inbound, name, userId, content)
  }

  /** Resolves when no leave is on its way that nobody waits for. */
  async settled(): Promise<void> {
    await Promise.all(this.telling)
  }

  /** Such leaves are told by the next process. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.settled()
  }

  /**
   * A user of ours is invited by an identity server's word: here, where users of ours are in the room, otherwise by the
   * server of who made the third-party invite, which then sends the invite as it sends any.
   * @throws MatrixError, RemoteError, Unreachable
   */
  async redeem(roomId: string, redeemed: Redeemed & { sender: string }, signal?: AbortSignal): Promise<void> {
    const { inbound, identityServers, remote } = this.deps
    const name = await residentRoom(inbound, roomId)
    if (name === undefined) return exchangeThirdPartyInvite(remote, inbound.serverName, roomId, redeemed, signal)
    const { target, signed } = redeemed
    const deps = { db: inbound.db, rooms: inbound.rooms, memberships: this, identityServers }
    await redeemThirdPartyInvite(deps, name, { target, signed })
  }

  /** A user of ours has it, and wants to come in by it. @throws MatrixError */
  private async present(
    roomId: string,
    userId: string,
    signed: JsonObject,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const name = await this.deps.inbound.stores.names.find(roomId)
    const { membership } = (name && (await membershipIn(this.deps.inbound.db, name.room, userId))) ?? {}
    if (membership === 'join' || membership === 'invite') return
    try {
      await this.redeem(roomId, { target: userId, signed, sender: ownString(signed, 'sender') ?? '' }, signal)
    } catch (cause) {
      throw relayed(cause)
    }
  }

  private async placed(
    userId: string,
    { roomId, via }: Found,
  ): Promise<{ roomId: string; name: RoomName | undefined; candidates: readonly string[] }> {
    const name = await this.deps.inbound.stores.names.find(roomId)
    return { roomId, name, candidates: await this.residents.candidates(roomId, name, userId, via) }
  }

  private async found({ roomIdOrAlias, via }: Destination, signal: AbortSignal | undefined): Promise<Found> {
    if (!roomIdOrAlias.startsWith('#')) return { roomId: roomIdOrAlias, via }
    const { roomId, servers } = await this.deps.queries.resolveAlias(roomIdOrAlias, signal)
    return { roomId, via: [...via, ...servers] }
  }

  private async isIn({ room }: RoomName): Promise<boolean> {
    const { db, serverName } = this.deps.inbound
    return (await joinedOfServer(db, room, serverName, 1)).length > 0
  }

  /**
   * With the first of the candidates that can. `signal` ends it only before an event goes out: what a server has taken is
   * in the room, and has to be known here.
   * @throws MatrixError
   */
  private async handshake(
    wanted: Omit<Wanted, 'version' | 'now'>,
    candidates: readonly string[],
    complete: (resident: string, made: Made) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const { inbound } = this.deps
    const { membership, roomId } = wanted
    if (candidates.length === 0) throw notFound('No server that is in the room is known: name one with `via`')
    const deadline = inbound.now() + LOOKING
    let failure: Error | undefined
    for (const resident of this.residents.inTurn(candidates)) {
      if (failure !== undefined && (signal?.aborted === true || inbound.now() > deadline)) break
      try {
        await complete(resident, await this.made(resident, wanted, signal))
        return
      } catch (cause) {
        const failed = failureOf(cause)
        inbound.logger.info({ room_id: roomId, resident, reason: failed.message }, `a ${membership} failed`)
        failure = furthest(failure, failed)
      }
    }
    throw refusalOf(failure, membership)
  }

  private async made(
    resident: string,
    wanted: Omit<Wanted, 'version' | 'now'>,
    signal: AbortSignal | undefined,
  ): Promise<Made> {
    const { remote, inbound } = this.deps
    const version = (await inbound.stores.names.find(wanted.roomId))?.version
    const { server } = inbound.rooms.deps
    try {
      const made = await makeEvent(remote, server, resident, { ...wanted, version, now: inbound.now() }, signal)
      this.residents.answered(resident)
      return made
    } catch (cause) {
      if (cause instanceof Unreachable && signal?.aborted !== true) this.residents.didNotAnswer(resident)
      throw cause
    }
  }

  /**
   * The knock is in the room of others; here it is a membership of the user's, with what they may know of the room. What
   * came of it may be here before the answer: the invite of somebody who lets in whoever knocks.
   */
  private async completeKnock(resident: string, made: Made): Promise<void> {
    const { remote, inbound } = this.deps
    const { event } = made.pdu
    const { roomId, sender: user, eventId: unheldEventId } = event
    const name = await inbound.stores.names.find(roomId)
    const before = name && (await membershipIn(inbound.db, name.room, user))
    const strippedState = knockState(event, await sendKnock(remote, resident, made))
    const room = await roomNumber(inbound.db, roomId)
    const knock = { room, user, membership: 'knock', sender: user, strippedState, unheldEventId } as const
    await inbound.rooms.deps.writer.writeMembership(knock, before?.position)
  }

  /**
   * Invites a user of another server: the event is in the room when their server has signed it.
   * @throws MatrixError
   */
  async invite(name: KnownRoom, sender: string, target: string, more: JsonObject): Promise<StoredEvent> {
    const { remote, inbound } = this.deps
    const server = serverNameOf(target)!
    const content = { ...more, membership: 'invite' }
    const draft = { type: 'm.room.member', stateKey: target, sender, content }
    const { pdu: proposed, told } = await proposeEvent(inbound.rooms, name, draft)
    // "the homeserver MUST request a signature from the Policy Server before sending the event"
    const { pdu, policy = allow } = await orTryAgain(checkPolicy(inbound, name, proposed))
    if (!policy.allowed) throw forbidden(`The policy server of the room does not allow this: ${policy.reason}`)
    try {
      const text = await sendInvite(remote, server, name, pdu, { event: pdu.event.pdu, told })
      const signed = await this.countersigned(server, name.rules, pdu, text)
      if (!hasSignatureOf(signed, server)) throw new Unreachable(server, 'it did not sign the invite')
      // Their server may have left out the signature it did not know.
      const checked = await checkPolicy(inbound, name, signed)
      const how = { kind: 'live', isRelayed: true, policy: checked.policy } as const
      const { event } = await orTryAgain(receive(inbound, name, { pdu: checked.pdu, how }))
      if (event.fate !== 'accepted') throw forbidden(`The room does not take the invite: ${event.reason}`)
      return event
    } catch (cause) {
      if (cause instanceof RemoteError || cause instanceof Unreachable || cause instanceof NotNow)
        throw inviteRefused(cause, target)
      throw cause
    }
  }

  private async completeJoin(resident: string, { rules, pdu, content }: Made): Promise<void> {
    const { remote, inbound } = this.deps
    const { roomId } = pdu.event
    await inbound.entrances.during(roomId, async () => {
      // Where we were before we hold members, and most of them are still there.
      const known = await inbound.stores.names.find(roomId)
      const isNew = known === undefined || !isKnown(known)
      const answer = await sendJoin(remote, resident, roomId, pdu.event.eventId, content, isNew)
      const join = answer.event === undefined ? pdu : await this.countersigned(resident, rules, pdu, answer.event)
      const ours = await residentRoom(inbound, roomId)
      if (ours !== undefined) return this.takeIn(ours, resident, join)
      const { state, authChain, servers } = answer
      const others = servers?.filter((server) => server !== inbound.serverName)
      const partial = others && { resident, servers: others, nowTs: inbound.now() }
      try {
        await enter(inbound, { roomId, version: rules.version, resident, join, state, authChain, partial })
      } catch (cause) {
        if (!(cause instanceof Overtaken)) throw cause
        await this.takeIn(await inbound.rooms.named(roomId), resident, join)
      }
    })
    this.deps.partialJoins?.wake()
  }

  /** The room is ours already, and goes on: the join is one more event in it, which may stand on some that are to come. */
  private async takeIn(name: KnownRoom, resident: string, join: Pdu): Promise<void> {
    const { inbound } = this.deps
    // What it stands on is known by then.
    if (!(await inbound.rooms.whole(name))) throw new NotNow('members', 'the members of the room are still to come')
    const fetching = new Fetching(inbound, name, [resident], new Budget(inbound.budget, inbound.now))
    const stateAfter = await fillGap(fetching, join)
    const { pdu, policy } = await checkPolicy(inbound, name, join)
    const how = { kind: 'live', policy, stateAfter, ofOtherRooms: fetching.otherRooms.among(pdu.event) } as const
    const { event } = await receive(inbound, name, { pdu, how })
    if (event.fate !== 'accepted') throw forbidden(`The room does not take the join: ${event.reason}`)
  }

  /**
   * Our event with the signatures of another server: of who let the user in, or whose user is invited.
   * @throws Unreachable
   */
  private async countersigned(server: string, rules: RoomVersionRules, ours: Pdu, text: PduText): Promise<Pdu> {
    const { inbound } = this.deps
    const signed = readSignedPdu(rules, ours.event.roomId, text)
    if (isDropped(signed) || signed.event.eventId !== ours.event.eventId)
      throw new Unreachable(server, 'it answered with another event than ours')
    const keys = keysWithOwn(inbound.rooms.deps.server, keysOfBatch(inbound.asking, rules, [signed]))
    // What its content hash does not cover is redacted, and another object.
    if ((await checkPdu(inbound, rules, signed, keys)) !== signed) throw new Unreachable(server, 'it changed our event')
    return signed
  }
}

function hasSignatureOf({ event }: Pdu, server: string): boolean {
  const signatures = own(event.pdu, 'signatures')
  return isObject(signatures) && own(signatures, server) !== undefined
}
