/**
 * A room in memory: its head, and the changes on their way into the log.
 *
 * The **committed** head is what everybody reads. The **pending** head is it plus the changes handed to the log writer
 * and not yet committed; only the builder of our own events sees it. A send reads the pending head, builds its event,
 * advances the pending head and waits for its own commit; the next send builds on it without waiting.
 *
 * Building is synchronous (src/store/missing.ts), so two builders never interleave. When another process moved the head,
 * or a change of ours failed, the log writer has all that is pending built again (`rebuild`), in order, on the head as the
 * database has it. Everything here can be dropped and read again, except while changes are pending.
 */
import { ThirdPartyInviteTooCostly } from '../protocol/authorization/index.js'
import { fitsIdInCodePoints } from '../protocol/identifiers.js'
import type { EventNumber, RoomNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { change, FIRST_SEGMENT, SegmentPacker } from '../protocol/state-trie.js'
import {
  RoomEntry,
  type Completion,
  type LogWriter,
  type NewEvent,
  type RoomLane,
  type RoomSummary,
} from '../store/log-writer.js'
import { Missing, whenLoaded } from '../store/missing.js'
import { isPauseDue, pause } from '../store/pauses.js'
import { bringsServer, hasTargetElsewhere } from '../store/outgoing.js'
import { readHead } from '../store/rooms.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Turns } from '../store/turns.js'
import { admitEvent, type AdmitContext } from './admit-event.js'
import { HeadMoved, type Arrival, type Received } from './arrival.js'
import { AtHand } from './at-hand.js'
import { buildEvent, knownMember, type BuildContext, type BuildingHead, type OwnServer } from './build-event.js'
import type { Draft } from './draft.js'
import type { WalkBehind } from './graph.js'
import { JudgingAnew, type JudgedDifferently, type Provisional, type ToJudgeAnew } from './judge-anew.js'
import { provisionalEvents } from './provisional-events.js'
import { effortOf } from './resolution/limits.js'
import type { Resolutions } from './resolution/resolutions.js'
import { StateInPlace } from './state-in-place.js'
import { decideInvite } from './undecided-invites.js'

export interface RoomDeps {
  readonly stores: Stores
  readonly writer: LogWriter
  readonly turns: Turns
  readonly resolutions: Resolutions
  readonly server: OwnServer
  readonly now: () => number
}

/** A change on its way: what it is made from, to make it again when need be. */
abstract class PendingEntry extends RoomEntry {
  /** How many times what limits allow at first it may cost. */
  readonly effort: number = 1
  /** Of its events, in the order in which they are made. */
  numbers: EventNumber[] = []
  /** The head with it, to become the committed one. */
  after: BuildingHead | undefined

  constructor(
    lane: RoomLane,
    /** Given by the change that makes the room. */
    readonly created: { readonly version: string } | undefined,
    receivedId?: string,
  ) {
    super(lane, receivedId)
  }

  get events(): readonly NewEvent[] {
    return this.change?.events ?? []
  }

  /** Builds the change on a head. */
  abstract build(room: Building, before: BuildingHead): BuiltEntry
}

interface BuiltEntry {
  readonly events: readonly NewEvent[]
  readonly after: BuildingHead
  readonly signed?: Promise<unknown>
  readonly completion?: Completion
}

/** What a room gives to those who build in it. */
interface Building {
  readonly context: BuildContext
  admitContext(atHand: AtHand): AdmitContext
}

/** Events of ours. */
class DraftsEntry extends PendingEntry {
  constructor(
    lane: RoomLane,
    readonly drafts: readonly Draft[],
    /** Refuses what the rules would allow; asked on the head the change is built on, each time it is built. */
    readonly check: ((state: PendingState) => void) | undefined,
    created: { readonly version: string } | undefined,
  ) {
    super(lane, created)
  }

  build({ context }: Building, before: BuildingHead): BuiltEntry {
    this.check?.({
      stateEvent: (type, key) => knownMember(before, type, context.view.stateEvent(before.head.state, type, key)),
      summary: before.summary,
    })
    const events: NewEvent[] = []
    const signed: Promise<void>[] = []
    let after = before
    let { roomId } = context
    const isAlone = this.drafts.length === 1
    for (const draft of this.drafts) {
      const step = buildEvent(roomId === context.roomId ? context : { ...context, roomId }, after, draft, isAlone)
      events.push(step.event)
      signed.push(step.signed)
      roomId ??= step.event.stored.event.roomId
      // However many they are, the head moves once.
      const version = before.head.version + 1
      after =
        step.after.head.version === version ? step.after : { ...step.after, head: { ...step.after.head, version } }
    }
    return { events, after, signed: signed.length === 1 ? signed[0]! : Promise.all(signed) }
  }
}

/** An event of another server. */
class ArrivalEntry extends PendingEntry {
  override readonly effort: number
  /** Set when the event is on its way already. */
  same: PendingEntry | undefined

  constructor(
    lane: RoomLane,
    readonly arrival: Arrival,
    /** undefined: to be asked for anew. */
    public atHand: AtHand | undefined,
    /** What is at hand may hold events that were on their way since then: `Room.beginning`. */
    private since: number,
    private readonly ask: (atHand: AtHand) => Promise<void>,
    created: { readonly version: string } | undefined,
  ) {
    super(lane, created, arrival.event.eventId)
    this.effort = effortOf(arrival.attempts ?? 0)
  }

  /** What was on its way when the room was begun anew is gone, and may be stored under another number. */
  keepUp(beginning: number): void {
    if (this.since === beginning) return
    this.since = beginning
    this.atHand = undefined
  }

  build(room: Building, before: BuildingHead): BuiltEntry {
    if (this.atHand === undefined) {
      const atHand = (this.atHand = new AtHand([this.arrival]))
      throw new Missing(() => this.ask(atHand))
    }
    const { event, after } = admitEvent(room.admitContext(this.atHand), before, this.arrival)
    return { events: [event], after }
  }
}

/** The members of the room are here. It is not built again: what came meanwhile would have to be judged, too. */
class CompletionEntry extends PendingEntry {
  override readonly effort = effortOf(Infinity)
  private atHand: { readonly what: ToJudgeAnew; readonly atHand: AtHand } | undefined
  private judging: JudgingAnew | undefined

  constructor(
    lane: RoomLane,
    private readonly completed: Omit<ToJudgeAnew, 'events'>,
    private readonly load: () => Promise<readonly Provisional[]>,
    private readonly ask: (atHand: AtHand) => Promise<void>,
  ) {
    super(lane, undefined)
  }

  get differences(): readonly JudgedDifferently[] {
    return this.judging!.differences
  }

  build(room: Building, before: BuildingHead): BuiltEntry {
    const isMoved = this.judging !== undefined && (this.judging.isDone || this.judging.before !== before)
    if (isMoved || before.head.partialJoin !== this.completed.join)
      throw new HeadMoved('the room moved while what was judged without its members was judged again')
    if (this.atHand === undefined) throw new Missing(() => this.prepare())
    this.judging ??= new JudgingAnew(before, this.atHand.what)
    return this.judging.run(room.admitContext(this.atHand.atHand))
  }

  private async prepare(): Promise<void> {
    const events = await this.load()
    const atHand = new AtHand(events.map(({ event: { event } }) => ({ event })))
    await this.ask(atHand)
    this.atHand = { what: { ...this.completed, events }, atHand }
  }
}

/** What a check on a change may look at: the state the change is built on. */
export interface PendingState {
  stateEvent(type: string, key: string): StoredEvent | undefined
  readonly summary: RoomSummary
}

/** States that were made by resolutions and are remembered. */
const MOST_RESOLVED = 16

export class Room implements RoomLane {
  committedHead: BuildingHead | undefined
  private pendingHead: BuildingHead | undefined
  private pending: PendingEntry[] = []
  /** The events of `pending`, by number and by id. */
  private readonly pendingNumbers = new Map<EventNumber, StoredEvent>()
  private readonly pendingIds = new Map<string, PendingEntry>()
  /** Those of `pending` with an event that names others which we do not hold. */
  private readonly incomplete = new Set<PendingEntry>()
  /** Those that are still to be built, on what is at hand since before. */
  private readonly arriving = new Set<ArrivalEntry>()
  private packer: SegmentPacker
  /** Segments taken from the packer and not committed; the first `handedOut` of them went with the batch under way. */
  private uncommitted = new Map<number, Uint8Array>()
  private handedOut: readonly number[] = []
  /** By the states they are of: what a build that is tried again, or another event on the same branches, makes no second time. */
  private readonly resolved = new Map<string, StateReference>()
  private rebuilding: Promise<void> | undefined
  private lastTurn: Promise<void> | undefined
  /** Grows when a head that was read may be old: one that is being read is read again. */
  private outdated = 0
  /** Grows when all that is pending is built again, or gone. */
  private beginning = 0
  /** What building reads through; what it holds is let go after each build. */
  private readonly view: StateView
  /** Pending changes were built on a head that is gone; set until they are built again. */
  isStale = false

  constructor(
    private readonly deps: RoomDeps,
    readonly room: RoomNumber,
    readonly rules: RoomVersionRules,
    public roomId: string | undefined,
  ) {
    this.view = new StateView(deps.stores, room, {
      segment: (segment) => this.packer.get(segment),
      event: (number) => this.pendingEvent(number),
      events: () => [...this.pendingNumbers.values(), ...this.building.values()],
    })
    this.packer = this.newPacker(FIRST_SEGMENT)
  }

  get isBusy(): boolean {
    return this.pending.length > 0 || this.rebuilding !== undefined
  }

  /** A room that is not in the database yet: its first change makes it. */
  begin(empty: BuildingHead): void {
    this.pendingHead = empty
  }

  /** The committed head, read from the database when it is not at hand. */
  async current(): Promise<BuildingHead> {
    if (this.committedHead === undefined) {
      const head = await this.load()
      this.committedHead ??= head.building
      if (!this.isBusy && this.pendingHead === undefined) this.startFrom(head)
    }
    return this.committedHead
  }

  /** Another process moved the head. What is pending finds out when it is written. */
  invalidate(): void {
    this.outdated++
    this.committedHead = undefined
    if (!this.isBusy) this.pendingHead = undefined
  }

  /**
   * Builds events on the pending head and hands them to the log: all or none. Resolves with the events, after the commit;
   * for a state event that would change nothing with the one in place.
   * @throws MatrixError when the rules refuse one of them.
   */
  async append(
    drafts: readonly Draft[],
    check?: (state: PendingState) => void,
    created?: { readonly version: string },
  ): Promise<readonly StoredEvent[] | { readonly duplicateOf: EventNumber }> {
    const entry = new DraftsEntry(this, drafts, check, created)
    const task = () => this.submit(entry)
    await this.deps.turns.end()
    try {
      // Nearly always everything is at hand and nobody waits: then there is nothing to wait for but the commit.
      if (this.lastTurn !== undefined || !this.builtAtOnce(task)) {
        await this.internKeys(drafts)
        await this.inTurn(task)
      }
      await entry.done
    } catch (cause) {
      if (!(cause instanceof StateInPlace)) throw cause
      const inPlace = await this.whenWritten(cause.event)
      return inPlace === undefined ? await this.append(drafts, check, created) : [inPlace]
    } finally {
      // Nearly always the commit has taken it out already.
      this.forget(entry)
    }
    if (entry.duplicateOf !== undefined) return { duplicateOf: entry.duplicateOf }
    return entry.events.map(({ stored }) => stored)
  }

  /** An event that a build has seen in the state: undefined when it did not come into the log, or as another one. */
  private async whenWritten({ number, event }: StoredEvent): Promise<StoredEvent | undefined> {
    await Promise.allSettled([this.pendingIds.get(event.eventId)?.done])
    return (await this.deps.stores.events.events(this.room, [number])).get(number)
  }

  /** Builds an entry on the pending head and hands it to the log. */
  private submit(entry: PendingEntry): void {
    if (this.rebuilding !== undefined) throw new Missing(() => this.rebuilding!)
    if (this.pendingHead === undefined) throw new Missing(() => this.becomeUsable())
    this.build(entry, this.pendingHead)
    this.pending.push(entry)
    this.deps.writer.submit(entry)
  }

  /**
   * Takes in events of other servers, each alone, in this order: what is given first may be named by what follows. All are
   * settled after the commit. Rejects with EventsUnknown, HeadMoved, ResolutionTooCostly, GraphTooCostly and
   * ThirdPartyInviteTooCostly, which are no verdicts; rejected and soft-failed events are stored, as their fate.
   */
  async receive(
    arrivals: readonly Arrival[],
    created?: { readonly version: string },
  ): Promise<PromiseSettledResult<Received>[]> {
    await this.internKeys(arrivals.map(({ event }) => event))
    const atHand = new AtHand(arrivals)
    const entries = arrivals.map(
      (arrival) => new ArrivalEntry(this, arrival, atHand, this.beginning, this.ask, created),
    )
    for (const entry of entries) this.arriving.add(entry)
    const results: Promise<PromiseSettledResult<Received>[]>[] = []
    try {
      await this.ask(atHand)
      for (const entry of entries) {
        const turn = this.inTurn(() => this.takeIn(entry))
        results.push(Promise.allSettled([turn.then(() => this.received(entry))]))
        await turn.catch(() => undefined)
        if (isPauseDue()) await pause()
      }
    } finally {
      for (const entry of entries) this.arriving.delete(entry)
    }
    return (await Promise.all(results)).flat()
  }

  private readonly ask = (atHand: AtHand): Promise<void> => atHand.ask(this.deps.stores, this.room)

  /**
   * Our join has the whole state before it, as events we hold: what was taken in since is judged again. Resolves after the
   * commit, with what was judged differently.
   * @throws HeadMoved when another process wrote into the room meanwhile, or was first.
   */
  async complete(join: EventNumber, state: readonly EventNumber[]): Promise<readonly JudgedDifferently[]> {
    const { stores } = this.deps
    const entry = new CompletionEntry(this, { join, state }, () => provisionalEvents(stores, this.room), this.ask)
    await this.inTurn(() => {
      // What is on its way has to be judged again, too. Nobody builds meanwhile: it is our turn.
      if (this.pending.length > 0) throw new Missing(() => Promise.allSettled(this.pending.map(({ done }) => done)))
      this.submit(entry)
    }, Infinity)
    await entry.done.finally(() => this.forget(entry))
    return entry.differences
  }

  private async received(entry: ArrivalEntry): Promise<Received> {
    if (entry.same !== undefined) {
      await entry.same.done
      // Written by it, or by the other process that it found to have been first.
      const { eventId } = entry.arrival.event
      return { kind: 'known', event: (await this.deps.stores.events.byIds(this.room, [eventId])).get(eventId)! }
    }
    if (entry.change === undefined) return { kind: 'known', event: this.alreadyHeld(entry)! }
    await entry.done.finally(() => this.forget(entry))
    if (entry.duplicateOf === undefined) return { kind: 'stored', event: entry.events[0]!.stored }
    return { kind: 'known', event: await this.stored(entry.duplicateOf) }
  }

  private async stored(number: EventNumber): Promise<StoredEvent> {
    return (await this.deps.stores.events.events(this.room, [number])).get(number)!
  }

  private takeIn(entry: ArrivalEntry): void {
    entry.keepUp(this.beginning)
    const id = entry.arrival.event.eventId
    entry.same = this.pendingIds.get(id)
    const before = entry.same?.events.find(({ stored }) => stored.event.eventId === id)
    // An outlier on its way is an outlier still: who knows more of it comes after it.
    const isPromoted = before?.stored.stateBefore === undefined && entry.arrival.kind !== 'outlier'
    if (entry.same !== undefined && isPromoted) {
      const { same } = entry
      throw new Missing(async () => {
        await Promise.allSettled([same.done])
        entry.atHand = undefined
      })
    }
    if (entry.same === undefined && this.alreadyHeld(entry) === undefined) this.submit(entry)
  }

  /** The event, when it is here and nothing more can be learned of it from this arrival. */
  private alreadyHeld({ atHand, arrival }: ArrivalEntry): StoredEvent | undefined {
    const held = atHand?.events.get(arrival.event.eventId)
    return held === undefined || (held.stateBefore === undefined && arrival.kind !== 'outlier') ? undefined : held
  }

  /** False when something was missing. */
  private builtAtOnce(task: () => void): boolean {
    try {
      task()
      return true
    } catch (cause) {
      if (cause instanceof Missing) return false
      this.letGo()
      throw cause
    }
  }

  /** Before the turn, so that many who come with new keys at once, as in a wave of joins, share one statement. */
  private async internKeys(
    drafts: readonly { readonly type: string; readonly stateKey?: string | undefined }[],
  ): Promise<void> {
    const { keys } = this.deps.stores
    const unknown = drafts.filter(
      ({ type, stateKey }) =>
        // What is too long is refused when it is built.
        stateKey !== undefined &&
        fitsIdInCodePoints(type) &&
        fitsIdInCodePoints(stateKey) &&
        keys.known(type, stateKey) === undefined,
    )
    if (unknown.length > 0) await Promise.all(unknown.map(({ type, stateKey }) => keys.intern(type, stateKey!)))
  }

  /** One queue per room: who comes while another's build waits for what it misses, builds after it. */
  private async inTurn(task: () => void, most?: number): Promise<void> {
    const before = this.lastTurn
    const turn = before === undefined ? this.built(task, most) : before.then(() => this.built(task, most))
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.lastTurn === settled) this.lastTurn = undefined
      })
    this.lastTurn = settled
    await turn
  }

  /** A build that is refused lets go of what was loaded for it, too. */
  private async built(task: () => void, most?: number): Promise<void> {
    try {
      await whenLoaded(task, most)
    } catch (cause) {
      this.letGo()
      throw cause
    }
  }

  private async becomeUsable(): Promise<void> {
    // After a failure, what is pending is settled first: it was handed over before.
    await Promise.allSettled(this.pending.map((entry) => entry.done))
    if (this.pendingHead === undefined && this.rebuilding === undefined) {
      const head = await this.load()
      if (!this.isBusy && this.pendingHead === undefined) this.startFrom(head)
    }
  }

  private startFrom({ building, nextSegment }: LoadedHead): void {
    this.deps.resolutions.forget(this.view)
    this.view.forgetUncommitted()
    this.committedHead = building
    this.pendingHead = building
    this.uncommitted.clear()
    this.handedOut = []
    this.resolved.clear()
    this.walks.clear()
    this.isStale = false
    this.packer = this.newPacker(nextSegment)
  }

  private newPacker(nextSegment: number): SegmentPacker {
    const { loaded } = this.view
    return new SegmentPacker(nextSegment, {
      identityKey: loaded.identityKey,
      get: (segment) => this.uncommitted.get(segment) ?? loaded.get(segment),
    })
  }

  private pendingEvent(number: EventNumber): StoredEvent | undefined {
    return this.building.get(number) ?? this.pendingNumbers.get(number)
  }

  /** Events of the entry being built, which stand on each other; also while something is loaded for it. */
  private readonly building = new Map<EventNumber, StoredEvent>()

  private build(entry: PendingEntry, before: BuildingHead): void {
    if (this.building.size > 0) this.building.clear()
    const context = this.context(entry)
    const room = { context, admitContext: (atHand: AtHand) => this.admitContext(context, atHand) }
    this.take(
      entry,
      before,
      this.decidable(entry, () => entry.build(room, before)),
    )
    this.letGo()
  }

  /** What takes longer to decide of an event of another server than a build may is decided first. */
  private decidable<T>(entry: PendingEntry, build: () => T): T {
    try {
      return build()
    } catch (cause) {
      if (entry instanceof DraftsEntry || !(cause instanceof ThirdPartyInviteTooCostly)) throw cause
      if (this.rebuilding !== undefined) throw this.movedMeanwhile()
      throw new Missing(() => decideInvite(cause, entry.effort))
    }
  }

  /** While the log's lock is held nobody waits for what takes long. */
  private movedMeanwhile(): HeadMoved {
    return new HeadMoved(`room ${this.room} moved while an event was written into it`)
  }

  private take(entry: PendingEntry, before: BuildingHead, built: BuiltEntry): void {
    const { signed, completion } = built
    const after = this.sharedAfter(before, built)
    const events = asProvisional(entry, built)
    if (completion === undefined) this.markOutgoing(entry, before, events)
    const { created } = entry
    // It may have been made by another process meanwhile.
    const isMade = created !== undefined && before.create === undefined
    const first = events[0]!.stored
    this.roomId ??= first.event.roomId
    entry.change = {
      builtOn: before.head.version,
      events,
      head: after.head,
      summary: after.summary === before.summary ? undefined : after.summary,
      created: isMade ? { roomId: this.roomId, version: created.version, creationEvent: first.number } : undefined,
      completion,
    }
    this.pendingHead = after
    entry.after = after
    const signing = signed?.then(() => {
      if (entry.signing === signing) entry.signing = undefined
    })
    entry.signing = signing
    for (const { stored, received } of events) {
      if (received?.waitsFor !== undefined || (received?.missingPrevEvents.length ?? 0) > 0) this.incomplete.add(entry)
      this.pendingNumbers.set(stored.number, stored)
      this.pendingIds.set(stored.event.eventId, entry)
    }
    if (entry instanceof ArrivalEntry) entry.atHand!.events.set(first.event.eventId, first)
  }

  /** Other servers in a room are looked for only once a user of theirs has been joined. */
  private sharedAfter({ head }: BuildingHead, { events, after }: BuiltEntry): BuildingHead {
    const { name } = this.deps.server
    // Where members are to come, other servers are said to be there.
    const isKnown = head.isShared === true || after.head.partialJoin !== undefined
    const isShared = isKnown || events.some((event) => bringsServer(event, name))
    return isShared && after.head.isShared !== true ? { ...after, head: { ...after.head, isShared } } : after
  }

  /** What other servers have to be sent: our events, and those of others for which this server answers. */
  private markOutgoing(entry: PendingEntry, { head }: BuildingHead, events: readonly NewEvent[]): void {
    if (entry instanceof ArrivalEntry && entry.arrival.isRelayed !== true) return
    let isShared = head.isShared === true
    for (const event of events) {
      const { stored } = event
      if (stored.fate === 'accepted' && (isShared || hasTargetElsewhere(stored.event, this.deps.server.name))) {
        stored.isOutgoing = true
      }
      isShared ||= bringsServer(event, this.deps.server.name)
    }
  }

  private letGo(): void {
    this.view.release()
    // Clearing a map makes another, also of an empty one.
    if (this.byId.size > 0) this.byId.clear()
    if (this.walks.size > 0) this.walks.clear()
    if (this.building.size > 0) this.building.clear()
  }

  private context(entry: PendingEntry): BuildContext {
    let taken = 0
    const { stores, server, now } = this.deps
    return {
      stores,
      room: this.room,
      roomId: this.roomId,
      rules: this.rules,
      server,
      view: this.view,
      packer: this.packer,
      now: now(),
      event: (eventId) => this.eventById(eventId),
      internedKey: (type, key) => this.internedKey(type, key),
      effort: entry.effort,
      resolve: (states) => this.resolve(states, entry.effort),
      takeNumber: () => (entry.numbers[taken++] ??= this.takeNumber()),
      introduce: (stored) => void this.building.set(stored.number, stored),
    }
  }

  private takeNumber(): EventNumber {
    const { eventNumbers } = this.deps.stores
    const number = eventNumbers.take()
    if (number === undefined) throw new Missing(() => eventNumbers.refill())
    return number
  }

  private admitContext(context: BuildContext, atHand: AtHand): AdmitContext {
    return {
      ...context,
      walks: this.walks,
      held: (eventId) =>
        this.pendingById(eventId) ??
        (atHand.events.has(eventId) ? atHand.events.get(eventId) : this.eventById(eventId)),
      redactionsOf: (eventId) => union(atHand.redactions.get(eventId) ?? [], this.pendingRedactionsOf(eventId)),
      isMissed: (eventId) => atHand.missed.has(eventId) || this.isMissedByPending(eventId),
    }
  }

  private pendingById(eventId: string): StoredEvent | undefined {
    const entry = this.pendingIds.get(eventId)
    if (entry?.signing !== undefined) throw new Missing(() => entry.signing ?? Promise.resolve())
    return this.onItsWay(eventId)
  }

  private onItsWay(eventId: string): StoredEvent | undefined {
    return this.pendingIds.get(eventId)?.events.find(({ stored }) => stored.event.eventId === eventId)?.stored
  }

  private pendingRedactionsOf(eventId: string): StoredEvent[] {
    if (this.incomplete.size === 0) return []
    return [...this.incomplete].flatMap((entry) =>
      entry.events.flatMap(({ received, stored }) => (received?.waitsFor === eventId ? [stored] : [])),
    )
  }

  private isMissedByPending(eventId: string): boolean {
    if (this.incomplete.size === 0) return false
    return [...this.incomplete].some((entry) =>
      entry.events.some(
        ({ received, stored }) => stored.fate === 'accepted' && received?.missingPrevEvents.includes(eventId),
      ),
    )
  }

  private internedKey(type: string, key: string): StateKeyNumber {
    const interned = this.view.key(type, key)
    if (interned !== undefined) return interned
    throw new Missing(() => this.deps.stores.keys.intern(type, key))
  }

  /** The resolution of states. */
  private resolve(states: readonly StateReference[], effort: number): StateReference {
    const distinct = [...new Set(states)]
    if (distinct.length === 1) return distinct[0]!
    const key = distinct.join()
    const known = this.resolved.get(key)
    if (known !== undefined) return known
    try {
      const { base, changes } = this.deps.resolutions.resolve(this.view, this.rules, distinct, effort)
      const state = this.view.run(change(this.packer, base, changes))
      if (this.resolved.size === MOST_RESOLVED) this.resolved.clear()
      this.resolved.set(key, state)
      return state
    } catch (cause) {
      if (cause instanceof Missing && this.rebuilding !== undefined) throw this.movedMeanwhile()
      throw cause
    }
  }

  private readonly walks = new Map<EventNumber, WalkBehind>()

  /** Events that redactions under way name. */
  private readonly byId = new Map<string, StoredEvent | undefined>()

  private eventById(eventId: string): StoredEvent | undefined {
    const pending = this.pendingById(eventId)
    if (pending !== undefined) return pending
    if (this.byId.has(eventId)) return this.byId.get(eventId)
    throw new Missing(async () => {
      this.byId.set(eventId, await this.deps.stores.events.byId(this.room, eventId))
    })
  }

  // What the log writer asks of a room.

  uncommittedSegments(): { segments: { segment: number; body: Uint8Array }[]; nextSegment: number } {
    for (const { segment, body } of this.packer.take()) this.uncommitted.set(segment, body)
    this.handedOut = [...this.uncommitted.keys()]
    return {
      segments: Array.from(this.uncommitted, ([segment, body]) => ({ segment, body })),
      nextSegment: this.packer.nextSegment,
    }
  }

  async rebuild(): Promise<void> {
    let finished!: () => void
    this.rebuilding = new Promise((resolve) => (finished = resolve))
    try {
      this.startFrom(await this.load())
      this.beginning++
      // What was refused in an attempt that failed is not built again: nobody would write it.
      const entries = this.pending.filter((entry) => !isSettled(entry))
      this.pendingNumbers.clear()
      this.pendingIds.clear()
      this.incomplete.clear()
      for (const entry of entries) {
        entry.change = undefined
        // What is made of a draft now is another event.
        entry.numbers = []
        if (entry instanceof ArrivalEntry) entry.keepUp(this.beginning)
      }
      for (const entry of entries) await this.rebuildOne(entry)
    } finally {
      this.rebuilding = undefined
      finished()
    }
  }

  private async rebuildOne(entry: PendingEntry): Promise<void> {
    try {
      await this.built(() => {
        if (entry instanceof ArrivalEntry && entry.atHand !== undefined) {
          entry.duplicateOf = this.alreadyHeld(entry)?.number
        }
        if (entry.duplicateOf === undefined) this.build(entry, this.pendingHead!)
      })
    } catch (cause) {
      entry.refusal = cause
    }
  }

  committed(entries: readonly RoomEntry[]): void {
    const { stores } = this.deps
    for (const segment of this.handedOut) {
      const body = this.uncommitted.get(segment)
      if (body !== undefined) stores.states.remember(this.room, segment, body)
      this.uncommitted.delete(segment)
    }
    this.handedOut = []
    const written = new Set<RoomEntry>(entries)
    for (const entry of this.incomplete) if (written.has(entry)) this.incomplete.delete(entry)
    const inUse = this.arriving.size === 0 ? [] : new Set(Array.from(this.arriving, ({ atHand }) => atHand))
    for (const entry of entries) {
      for (const event of entry.change?.events ?? []) {
        const { stored, redaction } = event
        for (const atHand of inUse) atHand?.add(event)
        this.pendingNumbers.delete(stored.number)
        this.pendingIds.delete(stored.event.eventId)
        // What was judged again has been read anew by the log writer: there is one object of each event.
        if (entry.change?.completion === undefined || stores.events.known(stored.number) === undefined)
          stores.events.remember(stored)
        if (redaction !== undefined) {
          const { target, ...left } = redaction
          stores.events.redact(target, { by: stored.number, ...left })
        }
      }
      if (entry instanceof PendingEntry && entry.after !== undefined) this.committedHead = entry.after
    }
    this.pending = this.pending.filter((entry) => !written.has(entry) && !isSettled(entry))
  }

  reset(): void {
    this.deps.resolutions.forget(this.view)
    this.outdated++
    this.beginning++
    this.isStale = true
    this.pendingHead = undefined
    this.committedHead = undefined
    this.uncommitted.clear()
    this.handedOut = []
  }

  private forget(entry: PendingEntry): void {
    this.incomplete.delete(entry)
    if (!this.pending.includes(entry)) return
    this.pending = this.pending.filter((other) => other !== entry)
    for (const { stored } of entry.events) {
      if (this.pendingIds.get(stored.event.eventId) !== entry) continue
      this.pendingIds.delete(stored.event.eventId)
      this.pendingNumbers.delete(stored.number)
    }
  }

  private async load(): Promise<LoadedHead> {
    for (;;) {
      const { outdated } = this
      const head = await this.readHead()
      if (outdated === this.outdated) return head
    }
  }

  private async readHead(): Promise<LoadedHead> {
    const row = await readHead(this.deps.stores.db, this.room)
    if (row === undefined) throw new Error(`room ${this.room} has no head`)
    const { head, summary, creationEvent, nextSegment } = row
    await this.deps.stores.events.followPartialJoin(this.room, head.partialJoin)
    const events = await this.deps.stores.events.placed(this.room, [...head.forwardExtremities, creationEvent])
    return {
      nextSegment,
      building: {
        head,
        summary,
        extremities: head.forwardExtremities.flatMap((number) => events.get(number) ?? []),
        create: events.get(creationEvent),
      },
    }
  }
}

interface LoadedHead {
  readonly building: BuildingHead
  readonly nextSegment: number
}

/** What is judged on a state that lacks members will be judged again. */
function asProvisional(entry: PendingEntry, { events, after, completion }: BuiltEntry): readonly NewEvent[] {
  if (after.head.partialJoin === undefined || completion !== undefined) return events
  const policy = entry instanceof ArrivalEntry ? entry.arrival.policy : undefined
  const provisional = { policy: policy?.allowed === false ? policy.reason : undefined }
  return events.map((event) => (event.stored.stateBefore === undefined ? event : { ...event, provisional }))
}

/** Each once. */
const union = (some: readonly StoredEvent[], others: readonly StoredEvent[]): StoredEvent[] => [
  ...new Map([...some, ...others].map((event) => [event.number, event])).values(),
]

/** Refused while it was rebuilt, or written before: the writer settles it with the batch. */
const isSettled = (entry: RoomEntry): boolean => entry.refusal !== undefined || entry.duplicateOf !== undefined
