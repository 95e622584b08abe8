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
import { fitsId } from '../protocol/identifiers.js'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import type { SigningKey } from '../protocol/signing.js'
import { FIRST_SEGMENT, SegmentPacker } from '../protocol/state-trie.js'
import { RoomEntry, type LogWriter, type NewEvent, type RoomLane, type RoomSummary } from '../store/log-writer.js'
import { Missing, whenLoaded } from '../store/missing.js'
import { readHead } from '../store/rooms.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Turns } from '../store/turns.js'
import { buildEvent, type BuildContext, type BuildingHead } from './build-event.js'
import type { Draft } from './draft.js'

export interface RoomDeps {
  readonly stores: Stores
  readonly writer: LogWriter
  readonly turns: Turns
  readonly server: { readonly name: string; readonly key: SigningKey }
  readonly now: () => number
}

/** The drafts of an entry, to build them again when need be. */
class PendingEntry extends RoomEntry {
  constructor(
    lane: RoomLane,
    readonly drafts: readonly Draft[],
    /** Refuses what the rules would allow; asked on the head the change is built on, each time it is built. */
    readonly check: ((state: PendingState) => void) | undefined,
  ) {
    super(lane)
  }

  get events(): readonly NewEvent[] {
    return this.change?.events ?? []
  }
}

/** What a check on a change may look at: the state the change is built on. */
export interface PendingState {
  stateEvent(type: string, key: string): StoredEvent | undefined
  readonly summary: RoomSummary
}

export class Room implements RoomLane {
  committedHead: BuildingHead | undefined
  private pendingHead: BuildingHead | undefined
  private pending: PendingEntry[] = []
  private packer: SegmentPacker
  /** Segments taken from the packer and not committed; the first `handedOut` of them went with the batch under way. */
  private uncommitted = new Map<number, Uint8Array>()
  private handedOut: readonly number[] = []
  private rebuilding: Promise<void> | undefined
  private lastTurn: Promise<void> | undefined
  /** Grows when a head that was read may be old: one that is being read is read again. */
  private outdated = 0
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
   * Builds events on the pending head and hands them to the log: all or none. Resolves with the events, after the commit.
   * @throws MatrixError when the rules refuse one of them.
   */
  async append(
    drafts: readonly Draft[],
    check?: (state: PendingState) => void,
    created?: { readonly version: string },
  ): Promise<readonly StoredEvent[] | { readonly duplicateOf: EventNumber }> {
    const entry = new PendingEntry(this, drafts, check)
    const task = () => {
      if (this.rebuilding !== undefined) throw new Missing(() => this.rebuilding!)
      if (this.pendingHead === undefined) throw new Missing(() => this.becomeUsable())
      this.build(entry, this.pendingHead, created)
      this.pending.push(entry)
      this.deps.writer.submit(entry)
    }
    await this.deps.turns.end()
    // Nearly always everything is at hand and nobody waits: then there is nothing to wait for but the commit.
    if (this.lastTurn !== undefined || !this.builtAtOnce(task)) {
      await this.internKeys(drafts)
      await this.inTurn(task)
    }
    // Nearly always the commit has taken it out already.
    await entry.done.finally(() => this.forget(entry))
    if (entry.duplicateOf !== undefined) return { duplicateOf: entry.duplicateOf }
    return entry.events.map(({ stored }) => stored)
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
  private async internKeys(drafts: readonly Draft[]): Promise<void> {
    const { keys } = this.deps.stores
    const unknown = drafts.filter(
      ({ type, stateKey }) =>
        // What is too long is refused when it is built.
        stateKey !== undefined && fitsId(type) && fitsId(stateKey) && keys.known(type, stateKey) === undefined,
    )
    if (unknown.length > 0) await Promise.all(unknown.map(({ type, stateKey }) => keys.intern(type, stateKey!)))
  }

  /** One queue per room: who comes while another's build waits for what it misses, builds after it. */
  private async inTurn(task: () => void): Promise<void> {
    const before = this.lastTurn
    const turn = before === undefined ? this.built(task) : before.then(() => this.built(task))
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.lastTurn === settled) this.lastTurn = undefined
      })
    this.lastTurn = settled
    await turn
  }

  /** A build that is refused lets go of what was loaded for it, too. */
  private async built(task: () => void): Promise<void> {
    try {
      await whenLoaded(task)
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
    this.committedHead = building
    this.pendingHead = building
    this.uncommitted.clear()
    this.handedOut = []
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
    for (let i = this.pending.length - 1; i >= 0; i--) {
      for (const { stored } of this.pending[i]!.events) if (stored.number === number) return stored
    }
    return this.building?.find((event) => event.number === number)
  }

  /** Events of the entry being built, which stand on each other. */
  private building: StoredEvent[] | undefined

  private build(entry: PendingEntry, before: BuildingHead, created?: { readonly version: string }): void {
    this.building = []
    try {
      const built: NewEvent[] = []
      let head = before
      const context = this.context()
      let roomId = this.roomId
      entry.check?.({
        stateEvent: (type, key) => this.view.stateEvent(before.head.state, type, key),
        summary: before.summary,
      })
      for (const draft of entry.drafts) {
        const step = buildEvent({ ...context, roomId }, head, draft)
        built.push(step.event)
        this.building.push(step.event.stored)
        roomId ??= step.event.stored.event.roomId
        head = { ...step.after, head: { ...step.after.head, version: before.head.version + 1 } }
      }
      entry.change = {
        builtOn: before.head.version,
        events: built,
        head: head.head,
        summary: head.summary === before.summary ? undefined : head.summary,
        created: created && { roomId: roomId!, version: created.version, creationEvent: built[0]!.stored.number },
      }
      this.roomId = roomId
      this.pendingHead = head
      this.heads.set(entry, head)
      this.letGo()
    } finally {
      this.building = undefined
    }
  }

  /** The head after each pending entry, to become the committed one. */
  private readonly heads = new WeakMap<RoomEntry, BuildingHead>()

  private letGo(): void {
    this.view.release()
    this.byId.clear()
  }

  private context(): BuildContext {
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
    }
  }

  /** Events that redactions under way name. */
  private readonly byId = new Map<string, StoredEvent | undefined>()

  private eventById(eventId: string): StoredEvent | undefined {
    const pending = this.pending.flatMap((entry) => entry.events).find(({ stored }) => stored.event.eventId === eventId)
    if (pending !== undefined) return pending.stored
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
      // What was refused in an attempt that failed is not built again: nobody would write it.
      const entries = this.pending.filter((entry) => !isSettled(entry))
      for (const entry of entries) entry.change = undefined
      for (const entry of entries) {
        try {
          await this.built(() => this.build(entry, this.pendingHead!))
        } catch (cause) {
          entry.refusal = cause
        }
      }
    } finally {
      this.rebuilding = undefined
      finished()
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
    for (const entry of entries) {
      for (const { stored, redaction } of entry.change?.events ?? []) {
        stores.events.remember(stored)
        if (redaction !== undefined) {
          const { target, event, text } = redaction
          stores.events.redact(target, { by: stored.number, event, text })
        }
      }
      this.committedHead = this.heads.get(entry) ?? this.committedHead
    }
    this.pending = this.pending.filter((entry) => !written.has(entry) && !isSettled(entry))
  }

  reset(): void {
    this.outdated++
    this.isStale = true
    this.pendingHead = undefined
    this.committedHead = undefined
    this.uncommitted.clear()
    this.handedOut = []
  }

  private forget(entry: PendingEntry): void {
    if (this.pending.includes(entry)) this.pending = this.pending.filter((other) => other !== entry)
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
    const events = await this.deps.stores.events.events(this.room, [...head.forwardExtremities, creationEvent])
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

/** Refused while it was rebuilt, or written before: the writer settles it with the batch. */
const isSettled = (entry: RoomEntry): boolean => entry.refusal !== undefined || entry.duplicateOf !== undefined
