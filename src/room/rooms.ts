/**
 * The rooms of this server: finding them, sending into them, and the memberships of local users. Everything that writes
 * events goes through here, everything that reads them through the gate (gate.ts).
 */
import { hash } from 'node:crypto'
import { canonicalJson } from '../protocol/canonical-json.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { ownString, type JsonObject } from '../protocol/json.js'
import { forbidden, MatrixError, notFound, tryAgain } from '../protocol/matrix-error.js'
import type { DeviceNumber, EventNumber, RoomNumber, StateReference } from '../protocol/numbers.js'
import { rulesOf } from '../protocol/room-versions.js'
import type { ClientTransaction, RoomSummary } from '../store/log-writer.js'
import type { Membership } from '../store/facts.js'
import { whenLoaded } from '../store/missing.js'
import { OneObjectCache } from '../store/one-object-cache.js'
import type { RoomName } from '../store/room-names.js'
import { isServerIn } from '../store/room-servers.js'
import { roomNumber } from '../store/rooms.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import { HeadMoved, type Arrival, type Received } from './arrival.js'
import { emptyHead, MembersUnknown, requireSize, type BuildingHead } from './build-event.js'
import type { Draft } from './draft.js'
import type { PolicyServer, PolicyServers } from './inbound/policy.js'
import type { KnownRoom } from './known-room.js'
import type { JudgedDifferently } from './judge-anew.js'
import { PartialRooms } from './partial-rooms.js'
import { proposeEvent } from './proposed-event.js'
import { orTryAgain } from './received-memberships.js'
import { Room, type PendingState, type RoomDeps } from './room.js'
import { StateInPlace } from './state-in-place.js'
import { emptySummary } from './summary.js'

export type Policies = Pick<PolicyServers, 'of' | 'check'>

export interface Transaction {
  readonly device: DeviceNumber
  /** What makes an endpoint one: the method's name and, where the path has them, its other parts. */
  readonly endpoint: string
  readonly transactionId: string
}

/** `stays`: what is to be changed is so already, and no event is made. */
export type MembershipCheck = (current: Membership | undefined) => 'stays' | void

/** Who needs to know all members of a room waits for them no longer, in ms. */
const PATIENCE = 20_000

export class Rooms {
  /** Of each room one object: two would build on the same head, and their events would not know of each other. */
  private readonly rooms: OneObjectCache<RoomNumber, Room>
  /** Sends under way by their transaction: a retry that comes meanwhile waits for the same event. */
  private readonly sending = new Map<string, Promise<StoredEvent>>()

  /** Who asks policy servers for their signatures: set where other servers can be asked. */
  policies: Policies | undefined
  /** The states in which rooms were found to use none: most rooms, and every send asks. */
  private readonly unpoliced = new WeakMap<Room, StateReference>()

  readonly partial = new PartialRooms()

  private newestCreation = 0

  constructor(readonly deps: RoomDeps) {
    // A room with its packer, its view and its head; the events it points to are shared with the cache of events.
    this.rooms = new OneObjectCache({ max: Math.max(100, Math.floor(deps.stores.memory.roomBytes / 8_192)) })
  }

  /** @throws MatrixError 404 for a room this server does not hold. */
  async named(roomId: string): Promise<RoomName & { rules: NonNullable<RoomName['rules']> }> {
    const name = await this.deps.stores.names.find(roomId)
    if (name?.rules === undefined) throw notFound('This server does not know the room')
    return name as RoomName & { rules: NonNullable<RoomName['rules']> }
  }

  /** The room in memory. */
  room(name: RoomName): Room {
    const known = this.rooms.get(name.room)
    if (known !== undefined) return known
    if (name.rules === undefined) throw notFound('This server does not know the room')
    const room = new Room(this.deps, name.room, name.rules, name.roomId)
    this.rooms.set(name.room, room)
    return room
  }

  /** `origin_server_ts` of a create event: of every room that is made here another, and now as nearly as can be. */
  takeCreationTs(): number {
    this.newestCreation = Math.max(this.deps.now(), this.newestCreation + 1)
    return this.newestCreation
  }

  /** Of a room that was just made. Who heard of it at once may be using it already. */
  remember(room: Room): void {
    if (this.rooms.get(room.room) === undefined) this.rooms.set(room.room, room)
  }

  /** Another process wrote into these rooms. */
  invalidate(rooms: Iterable<RoomNumber>): void {
    for (const number of new Set(rooms)) this.rooms.get(number)?.invalidate()
  }

  async head(name: RoomName): Promise<BuildingHead> {
    return this.room(name).current()
  }

  async summary(name: RoomName): Promise<RoomSummary> {
    return (await this.head(name)).summary
  }

  /** An event of the current state. What a requester may see of it is for the gate to say. */
  async currentState(name: RoomName, type: string, key: string): Promise<StoredEvent | undefined> {
    const { head } = await this.head(name)
    const view = new StateView(this.deps.stores, name.room)
    return whenLoaded(() => view.stateEvent(head.state, type, key))
  }

  /** Whether members of the room are still to come. */
  async isPartial(name: RoomName): Promise<boolean> {
    return (await this.head(name)).head.partialJoin !== undefined
  }

  /** Waits for the members of a room that are still to come. False when they have not come in time, in ms. */
  async whole(name: RoomName, patience = PATIENCE): Promise<boolean> {
    if (!(await this.isPartial(name))) return true
    return this.partial.ended(name.room, () => this.isPartial(name), patience)
  }

  /** @throws MatrixError 503 when the members of the room have not come in time. */
  async requireWhole(name: RoomName, patience?: number): Promise<void> {
    if (!(await this.whole(name, patience))) throw tryAgain('The members of the room are still being fetched')
  }

  /**
   * Our join has the whole state before it. Resolves with what was judged differently than without the members.
   * @throws HeadMoved when the room moved meanwhile.
   */
  async complete(
    name: RoomName,
    join: EventNumber,
    state: readonly EventNumber[],
  ): Promise<readonly JudgedDifferently[]> {
    return this.room(name).complete(join, state)
  }

  /** undefined: never in the room. Waits for members that are still to come. @throws MatrixError 503 */
  async membership(name: RoomName, userId: string): Promise<Membership | undefined> {
    let event = await this.currentState(name, 'm.room.member', userId)
    if (event === undefined && (await this.isPartial(name))) {
      await this.requireWhole(name)
      event = await this.currentState(name, 'm.room.member', userId)
    }
    return event && membershipOf(event)
  }

  /** Whether a user is joined; of one who may be among the members that are still to come, whether their server is there. */
  async takesPart(name: RoomName, userId: string): Promise<boolean> {
    const event = await this.currentState(name, 'm.room.member', userId)
    if (event !== undefined) return ownString(event.event.content, 'membership') === 'join'
    const server = serverNameOf(userId)
    return server !== undefined && (await this.isPartial(name)) && isServerIn(this.deps.stores.db, name.room, server)
  }

  /**
   * Sends an event of a local user. Resolves after the commit; with a transaction that was used before, with the event it
   * made then. A state event equal to the one in place is that one.
   */
  async send(
    name: RoomName,
    draft: Draft,
    transaction?: Transaction,
    check?: (state: PendingState) => void,
  ): Promise<StoredEvent> {
    if (transaction === undefined) return this.sendNow(name, draft, check)
    const clientTransaction = clientTransactionOf(name, transaction)
    const key = `${clientTransaction.device}:${clientTransaction.key}`
    const underWay = this.sending.get(key)
    if (underWay !== undefined) return underWay
    const sending = this.sendOnce(name, asPartOf(clientTransaction, draft), check)
    this.sending.set(key, sending)
    try {
      return await sending
    } finally {
      this.sending.delete(key)
    }
  }

  /** A send that would be refused today may have been accepted when it was first made. */
  private async sendOnce(name: RoomName, draft: Draft, check?: (state: PendingState) => void): Promise<StoredEvent> {
    try {
      return await this.sendNow(name, draft, check)
    } catch (cause) {
      if (!(cause instanceof MatrixError) || draft.transaction === undefined) throw cause
      const made = await this.madeBy(draft.transaction)
      if (made === undefined) throw cause
      return this.event(name, made)
    }
  }

  private async sendNow(name: RoomName, draft: Draft, check?: (state: PendingState) => void): Promise<StoredEvent> {
    const [event] = await this.sendAll(name, [draft], check)
    return event!
  }

  /** All or none; in a room with a policy server, which has to be asked about each, as many as are allowed. */
  async sendAll(
    name: RoomName,
    drafts: readonly Draft[],
    check?: (state: PendingState) => void,
  ): Promise<readonly StoredEvent[]> {
    const room = this.room(name)
    const policy = this.isUnpoliced(room) ? undefined : await this.policyOf(name, room)
    if (policy !== undefined) return this.sendSigned(name, policy, drafts, check).catch(inPlace)
    const result = await this.appended(name, room, drafts, check)
    return 'duplicateOf' in result ? [await this.event(name, result.duplicateOf)] : result
  }

  private async appended(
    name: RoomName,
    room: Room,
    drafts: readonly Draft[],
    check?: (state: PendingState) => void,
  ): ReturnType<Room['append']> {
    try {
      return await room.append(drafts, check)
    } catch (cause) {
      if (!(cause instanceof MembersUnknown)) throw cause
      await this.requireWhole(name)
      return room.append(drafts, check)
    }
  }

  private isUnpoliced(room: Room): boolean {
    const state = room.committedHead?.head.state
    return this.policies === undefined || (state !== undefined && this.unpoliced.get(room) === state)
  }

  private async policyOf(name: RoomName, room: Room): Promise<PolicyServer | undefined> {
    const { state } = (await room.current()).head
    const policy = await this.policies!.of(name as KnownRoom)
    if (policy === undefined) this.unpoliced.set(room, state)
    return policy
  }

  /**
   * "the homeserver MUST request a signature from the Policy Server before sending the event": it is made on the committed
   * head, goes out, and comes back as an event like those of others. https://spec.matrix.org/v1.19/server-server-api/#policy-servers
   */
  private async sendSigned(
    name: RoomName,
    policy: PolicyServer,
    drafts: readonly Draft[],
    check: ((state: PendingState) => void) | undefined,
  ): Promise<readonly StoredEvent[]> {
    const sent: StoredEvent[] = []
    for (const draft of drafts) {
      const made = draft.transaction && (await this.madeBy(draft.transaction))
      if (made !== undefined) {
        sent.push(await this.event(name, made))
        continue
      }
      // What was sent before is in the state that the others are made on.
      const isAlone = drafts.length === 1
      const ofFirst = sent.length === 0 ? check : undefined
      const proposed = await proposeEvent(this, name as KnownRoom, draft, ofFirst, isAlone)
      const checked = this.policies!.check(policy, (name as KnownRoom).rules, proposed.pdu)
      const { verdict, pdu } = await orTryAgain(checked)
      if (!verdict.allowed) throw forbidden(`The policy server of the room does not allow this: ${verdict.reason}`)
      requireSize(pdu.text)
      const { transaction, replacement } = draft
      const how = { kind: 'live', isRelayed: true, transaction, replacement } as const
      const { event } = await this.receive(name, { event: pdu.event, text: pdu.text, ...how })
      if (event.fate !== 'accepted') throw forbidden(`The room does not take the event: ${event.reason}`)
      sent.push(event)
    }
    return sent
  }

  /**
   * Takes in an event of another server that passed the first three checks. Resolves after the commit, with the event and
   * its fate.
   *
   * @throws EventsUnknown when it names auth events that are not here, or prev events whose state is not.
   * @throws ResolutionTooCostly, GraphTooCostly, ThirdPartyInviteTooCostly at limits, and HeadMoved: no verdicts.
   */
  async receive(name: RoomName, arrival: Arrival): Promise<Received> {
    const [result] = await this.receiveAll(name, [arrival])
    if (result!.status === 'rejected') throw result!.reason
    return result!.value
  }

  /** Several at once, each alone, in this order: with one statement for what all of them name, and mostly one commit. */
  async receiveAll(name: RoomName, arrivals: readonly Arrival[]): Promise<PromiseSettledResult<Received>[]> {
    const results = await this.room(name).receive(arrivals)
    for (const [index, result] of results.entries()) {
      if (result.status !== 'rejected' || !(result.reason instanceof HeadMoved)) continue
      ;[results[index]] = (await this.room(name).receive([arrivals[index]!])) as [PromiseSettledResult<Received>]
    }
    return results
  }

  /** Makes a room of another server known here, by its create event. The room may be known by an invite, or be known already. */
  async adopt(create: Arrival, version: string): Promise<RoomName> {
    const { stores } = this.deps
    const { roomId } = create.event
    const known = await stores.names.find(roomId)
    if (known?.rules !== undefined) return known
    const rules = rulesOf(version)
    if (rules === undefined) throw new Error(`room version ${version} is not known here`)
    const room = new Room(this.deps, await roomNumber(stores.db, roomId), rules, roomId)
    room.begin({ head: emptyHead, summary: emptySummary, extremities: [], create: undefined })
    const [result] = await room.receive([create], { version })
    if (result!.status === 'rejected') throw result!.reason
    // Another process was told of another event that made it, and was first.
    if (result!.value.event.fate === 'rejected') return (await stores.names.find(roomId))!
    this.remember(room)
    return stores.names.remember({ room: room.room, room_id: roomId, version })
  }

  private async event(name: RoomName, number: EventNumber): Promise<StoredEvent> {
    const event = (await this.deps.stores.events.events(name.room, [number])).get(number)
    if (event === undefined) throw new Error(`event ${number} of room ${name.room} is not there`)
    return event
  }

  private async madeBy(transaction: ClientTransaction): Promise<EventNumber | undefined> {
    const row = await this.deps.stores.db
      .selectFrom('client_transaction')
      .select('event')
      .where('device', '=', transaction.device as DeviceNumber)
      .where('key', '=', Buffer.from(transaction.key, 'hex'))
      .executeTakeFirst()
    return row?.event
  }

  /** Changes the membership of a user by an event of `sender`; `check` refuses what the rules would allow, or says that it stays. */
  async changeMembership(
    name: RoomName,
    sender: string,
    target: string,
    content: JsonObject,
    check?: MembershipCheck,
  ): Promise<StoredEvent> {
    const draft: Draft = { type: 'm.room.member', stateKey: target, sender, content }
    return this.sendNow(name, draft, (state) => {
      const current = state.stateEvent('m.room.member', target)
      if (check?.(current && membershipOf(current)) === 'stays' && current !== undefined)
        throw new StateInPlace(current)
    })
  }
}

export function membershipIn(state: PendingState, userId: string): Membership | undefined {
  const event = state.stateEvent('m.room.member', userId)
  return event && membershipOf(event)
}

const membershipOf = ({ event }: StoredEvent) => ownString(event.content, 'membership') as Membership | undefined

/** @throws MatrixError 403 unless the user is joined. */
export function requireJoined(membership: Membership | undefined): void {
  if (membership !== 'join') throw forbidden('You are not in this room')
}

function inPlace(cause: unknown): readonly StoredEvent[] {
  if (!(cause instanceof StateInPlace)) throw cause
  return [cause.event]
}

/** Written out: all drafts have one shape then, and a send is quicker by it than by a copy that adds a key. */
const asPartOf = (transaction: ClientTransaction, draft: Draft): Draft => ({
  type: draft.type,
  sender: draft.sender,
  content: draft.content,
  stateKey: draft.stateKey,
  redacts: draft.redacts,
  transaction,
  originServerTs: draft.originServerTs,
  replacement: draft.replacement,
})

function clientTransactionOf(name: RoomName, { device, endpoint, transactionId }: Transaction): ClientTransaction {
  const scope = canonicalJson([endpoint, name.roomId, transactionId])
  const key = hash('sha256', scope, 'hex').slice(0, 32)
  return { device, key, transactionId }
}
