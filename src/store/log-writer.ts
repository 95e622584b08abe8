/**
 * The one who writes the log. Requests do not open transactions: they hand a prepared change over and wait for its
 * promise. The writer takes all that waits, writes it as one transaction of a few multi-row statements, and resolves the
 * promises after the commit, while the next batch gathers. There is no timer: it flushes whenever its lane is free.
 *
 * Positions are handed out and committed in one order, across processes too. A transaction that takes positions first
 * takes the log's advisory lock, as a statement of its own and before any row lock, in READ COMMITTED: a statement that
 * locks and reads at once reads with a snapshot from before the lock. A rollback leaves a hole; holes are normal. The
 * lock of a frozen process is freed by `idle_in_transaction_session_timeout`.
 *
 * Under the lock the heads of the batch's rooms are compared with what their changes were built on. A room whose head
 * was moved by another process is rebuilt there and then, so that no process can be starved by another.
 *
 * What can go wrong, and what then is true:
 * - a statement fails: the batch is split by room and tried again, so that one bad change fails alone; a room's chain
 *   stops at its first failure and the rest of it is rebuilt.
 * - the connection is lost: reconnect, take the lock, ask Postgres whether the transaction was committed.
 * - the database stays away: all that waits is refused (503), rooms forget what was pending, and once it is back the log
 *   is read from where it was left.
 */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { EventNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import type { Fact, Membership, NewFact, NewMembership } from './facts.js'
import type { Log } from './log.js'
import type { StoredEvent } from './stored-event.js'
import { sentTogether } from './database.js'
import { statements, type Batch } from './log-statements.js'
import { logLock } from './log-tables.js'

/** An event to be written, with what it causes. */
export interface NewEvent {
  readonly stored: StoredEvent
  /**
   * live: it is told to readers and gets a position. placed: history, whose place in the room it brings along. unplaced:
   * an outlier, rejected or soft-failed.
   */
  readonly order: 'live' | 'placed' | 'unplaced'
  /** Of live events. The current state may change in other keys than the event's own. */
  readonly stateChange?: {
    readonly before: StateReference
    readonly after: StateReference
    readonly completes?: true
  }
  readonly memberships: readonly MembershipChange[]
  /** Local users whom it highlights, beyond those whom it highlights by the room-wide count. */
  readonly highlights: readonly string[]
  readonly transaction?: ClientTransaction
  /** The room that takes over the aliases of this one, and its place in the directory. */
  readonly replacement?: RoomNumber
  /** What only events of other servers bring. */
  readonly received?: ReceivedParts
  /** It was judged on a state that lacks members, or, where it is settled, stood on such an event. */
  readonly provisional?: {
    /** Why the room's policy server refused it. */
    readonly policy?: string
    /** In ms. */
    readonly settledTs?: number
  }
  /** The event this one redacts, with what is left of it. */
  readonly redaction?: { readonly target: StoredEvent; readonly event: StoredEvent['event']; readonly text: string }
}

export interface MembershipChange {
  readonly user: string
  readonly membership: Membership
  readonly sender: string
  /** undefined: the state has no membership of them any more. */
  readonly event: EventNumber | undefined
  readonly strippedState?: string
}

export interface ReceivedParts {
  /** It was held as an outlier, and is the same event with the same number. */
  readonly promoted: boolean
  /** Its prev events that we do not hold, and those of the rejected and soft-failed events it stands on. */
  readonly missingPrevEvents: readonly string[]
  /** A redaction whose target we do not hold. */
  readonly waitsFor?: string
  /** The row of `staged_pdu` that is done with. */
  readonly staged?: number
  /** Our join, on a state that lacks members. */
  readonly entersPartially?: PartialEntrance
  /** Our join on a whole state into a room whose members were still coming: what was judged without them has no state any more. */
  readonly endsPartialState?: { readonly nowTs: number }
}

export interface PartialEntrance {
  /** The server that let us in. */
  readonly resident: string
  /** Those that it says are in the room, but for this one. */
  readonly servers: readonly string[]
  /** In ms. */
  readonly nowTs: number
}

/** The members are here: the current state becomes another by no event, and `events` were judged again. */
export interface Completion {
  readonly before: StateReference
  readonly after: StateReference
  /** Our join. */
  readonly cause: EventNumber
  readonly memberships: readonly MembershipChange[]
  /** In ms. */
  readonly nowTs: number
}

export interface ClientTransaction {
  readonly device: number
  /** 16 bytes, hex. */
  readonly key: string
  readonly transactionId: string
}

export interface Head {
  /** Grows by one with every change. */
  readonly version: number
  readonly forwardExtremities: readonly EventNumber[]
  readonly state: StateReference
  readonly notifyCount: number
  readonly highlightCount: number
  readonly lastActivityTs: number
  /** A user of another server has been joined at some time. */
  readonly isShared?: true
  /** Our join, while the states after it lack members. */
  readonly partialJoin?: EventNumber
}

export interface RoomSummary {
  readonly name: string | null
  readonly topic: string | null
  readonly avatar_url: string | null
  readonly canonical_alias: string | null
  readonly join_rule: string | null
  readonly history_visibility: string | null
  readonly guest_access: string | null
  readonly encryption: string | null
  readonly room_type: string | null
  readonly tombstone_event_id: string | null
  readonly joined_members: number
  readonly invited_members: number
  readonly in_directory: boolean
}

/** A change of one room: its events in order, all or none. */
export interface RoomChange {
  /** The version of the head it was built on. */
  readonly builtOn: number
  readonly events: readonly NewEvent[]
  readonly head: Head
  /** Given when it changed. */
  readonly summary?: RoomSummary
  /** Given by the change that makes the room. */
  readonly created?: { readonly roomId: string; readonly version: string; readonly creationEvent: EventNumber }
  readonly completion?: Completion
}

export class RoomEntry {
  readonly kind = 'room'
  /** Set by the lane when it (re)builds the entry. */
  change: RoomChange | undefined
  /** Set instead of a change when it can no longer be built, for instance because the sender was banned meanwhile. */
  refusal: unknown
  /** Set when the client's transaction, or the event received, had been written already: the event it made. */
  duplicateOf: EventNumber | undefined
  /** Of a received event: its id, which another process may have written meanwhile. */
  readonly receivedId: string | undefined
  /** Signatures of its events are being made; undefined once they are there. */
  signing: Promise<void> | undefined
  readonly done: Promise<void>
  resolve!: () => void
  reject!: (cause: unknown) => void

  constructor(
    readonly lane: RoomLane,
    receivedId?: string,
  ) {
    this.receivedId = receivedId
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.done.catch(() => undefined)
  }
}

export interface FactsEntry {
  readonly kind: 'facts'
  readonly facts: readonly NewFact[]
  resolve: (position: Position) => void
  reject: (cause: unknown) => void
}

export interface MembershipEntry {
  readonly kind: 'membership'
  readonly membership: NewMembership
  readonly replaces: Position | undefined
  resolve: (isWritten: boolean) => void
  reject: (cause: unknown) => void
}

/** What the writer knows of a room in memory (src/room/room.ts). */
export interface RoomLane {
  readonly room: RoomNumber
  /** What is pending was built on a head that is gone. */
  readonly isStale: boolean
  /** The segments that are not known to be committed, all closed, and the number of the next one. */
  uncommittedSegments(): {
    readonly segments: readonly { segment: number; body: Uint8Array }[]
    readonly nextSegment: number
  }
  /**
   * Builds again what is pending in the room, in order, on the head as the database has it. Called with the log's lock
   * held: nobody can move the head meanwhile. An entry that can no longer be built gets a refusal.
   */
  rebuild(): Promise<void>
  /** The entries are committed, with the segments handed out last. */
  committed(entries: readonly RoomEntry[]): void
  /** What was pending is gone: the room is read anew before it is used again. */
  reset(): void
}

/** Whatever the reason, nothing was sent. */
class NotConnected extends Error {}

/** The database is away or full. The endpoints answer 503. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable'
}

export interface LogWriterOptions {
  /** Of this server: what its users do is counted for no other. */
  readonly serverName: string
  readonly connect: () => pg.Client
  readonly log: Log
  /** Facts with after < position <= upTo, as other processes wrote them. */
  readonly factsBetween: (after: Position, upTo: Position) => Promise<Fact[]>
  readonly newestPosition: () => Promise<Position>
  /** The newest that was handed out and committed or rolled back. */
  readonly settledPosition: () => Promise<Position>
  /** Reads anew the events of a room that were judged again. */
  readonly readJudgedAnew: (room: RoomNumber) => Promise<void>
  /** Told of every batch after its commit: to notify other processes. */
  readonly onCommit: (newest: Position) => void
  readonly logger: { warn(fields: object, message: string): void; error(fields: object, message: string): void }
  /** How long the database may be away before what waits is refused, in ms. */
  readonly patience?: number
}

/** A batch is bounded so that one transaction stays short for other processes. */
const maxBatch = 500

type Entry = RoomEntry | FactsEntry | MembershipEntry

export class LogWriter {
  private waiting: Entry[] = []
  private running: Promise<void> | undefined
  private client: pg.Client | undefined
  /** Facts become readable in one order: held from before a commit until its facts are published. */
  private publishing: Promise<void> = Promise.resolve()
  private closed = false
  /** Patience has been in vain: each batch is tried once, until the database is back. */
  private isAway = false

  constructor(private readonly options: LogWriterOptions) {}

  /** The entry's change must be built. Entries of a room are written in the order in which they are handed over. */
  submit(entry: RoomEntry): void {
    this.enqueue(entry)
  }

  /** Facts of users, all or none. Resolves with the newest of their positions, after the commit. */
  write(facts: readonly NewFact[]): Promise<Position> {
    return new Promise((resolve, reject) => this.enqueue({ kind: 'facts', facts, resolve, reject }))
  }

  /**
   * A user's membership in a room that we do not hold, in place of the one since `replaces`; undefined: of none. Resolves
   * with false, and nothing is written, where the user has another by now: the room's own state may have brought it.
   */
  writeMembership(membership: NewMembership, replaces: Position | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => this.enqueue({ kind: 'membership', membership, replaces, resolve, reject }))
  }

  private enqueue(entry: Entry): void {
    if (this.closed) return entry.reject(new DatabaseUnavailable('The server is shutting down'))
    this.waiting.push(entry)
    // Those who go on in the same moment (src/store/turns.ts) go together.
    this.running ??= Promise.resolve().then(() => this.drain())
  }

  private async drain(): Promise<void> {
    try {
      while (this.waiting.length > 0) await this.flush(this.waiting.splice(0, maxBatch))
    } finally {
      this.running = undefined
      if (this.waiting.length > 0) this.running = this.drain()
    }
  }

  /** Waits for what was handed over, then ends. Nothing is taken afterwards. */
  async close(): Promise<void> {
    this.closed = true
    while (this.running !== undefined) await this.running
    await this.publishing
    await this.client?.end().catch(() => undefined)
    this.client = undefined
  }

  /** Makes readable what other processes committed up to a position they told us of, or up to the newest there is. */
  async catchUp(upTo?: Position): Promise<void> {
    await this.exclusively(async () => {
      const newest = upTo ?? (await this.options.newestPosition())
      if (newest > this.options.log.published) await this.publishForeign(newest)
    })
  }

  /** Makes readable what is up to a position that another process told a client of. Resolves with false if none can have. */
  async reach(position: Position): Promise<boolean> {
    const { log, settledPosition } = this.options
    if (position > log.published) await this.catchUp()
    // What had this position may be deleted, or the transaction was rolled back.
    if (position > log.published) await this.catchUp(await settledPosition())
    return position <= log.published
  }

  private async publishForeign(upTo: Position): Promise<void> {
    const { log } = this.options
    log.publish(await this.options.factsBetween(log.published, upTo), upTo, 'elsewhere')
  }

  private async exclusively<T>(task: () => Promise<T>): Promise<T> {
    const before = this.publishing
    let release!: () => void
    this.publishing = new Promise((resolve) => (release = resolve))
    await before
    try {
      return await task()
    } finally {
      release()
    }
  }

  private async flush(entries: readonly Entry[]): Promise<void> {
    try {
      await this.exclusively(() => this.writeWhole(entries))
    } catch (cause) {
      if (cause instanceof DatabaseUnavailable) return this.refuse([...entries, ...this.waiting.splice(0)], cause)
      if (isOutOfResources(cause)) return this.refuse(entries, cause)
      await this.isolate(entries, cause)
    }
  }

  private refuse(entries: readonly Entry[], cause: unknown): void {
    this.options.logger.error({ err: cause, entries: entries.length }, 'the database did not take a batch')
    for (const lane of lanesOf(entries)) lane.reset()
    for (const entry of entries) entry.reject(cause)
  }

  /** A batch failed: by room first, then, in the room that fails, one by one until the first failure. */
  private async isolate(entries: readonly Entry[], cause: unknown): Promise<void> {
    const groups = groupsOf(entries)
    if (groups.length > 1) {
      for (const group of groups) await this.flush(group)
      return
    }
    const [first, ...rest] = entries
    if (first === undefined) return
    if (rest.length === 0) {
      this.options.logger.error({ err: cause }, 'a change could not be written')
      for (const lane of lanesOf(entries)) lane.reset()
      return first.reject(cause)
    }
    await this.flush([first])
    await this.flush(rest)
  }

  /** One transaction, tried again when the connection is lost, until it is certain whether it was committed. */
  private async writeWhole(entries: readonly Entry[]): Promise<void> {
    const deadline = Date.now() + (this.isAway ? 0 : (this.options.patience ?? 8_000))
    let attempt: Attempt | undefined
    for (;;) {
      try {
        const client = await this.connected()
        if (attempt?.commitSent === true && (await this.wasCommitted(client, attempt))) {
          return await this.afterCommit(attempt)
        }
        attempt = new Attempt(entries)
        await this.transaction(client, attempt)
        return await this.afterCommit(attempt)
      } catch (cause) {
        if (!isConnectionLost(cause)) {
          await this.client?.query('rollback').catch(() => this.disconnect())
          throw cause
        }
        this.disconnect()
        if (Date.now() >= deadline) {
          this.isAway = true
          throw new DatabaseUnavailable('The database is not available', { cause })
        }
        this.options.logger.warn({ err: cause }, 'lost the database; trying again')
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }

  private async connected(): Promise<pg.Client> {
    if (this.client !== undefined) return this.client
    const client = this.options.connect()
    client.on('error', () => this.disconnect(client))
    await client.connect().catch((cause: unknown) => {
      throw new NotConnected('could not connect to the database', { cause })
    })
    // A plan that was made while a table was small is kept for a while: it must not be to read the whole of it.
    await client.query(
      `set idle_in_transaction_session_timeout = '2s'; set lock_timeout = 0; set enable_seqscan = off; set application_name = 'hearth log writer'`,
    )
    // What others wrote while we were away, and what we wrote without hearing the answer.
    this.client = client
    this.isAway = false
    return client
  }

  private disconnect(client = this.client): void {
    if (client === undefined) return
    if (this.client === client) this.client = undefined
    client.end().catch(() => undefined)
  }

  private async wasCommitted(client: pg.Client, attempt: Attempt): Promise<boolean> {
    await this.begin(client)
    const { rows } = await client.query<{ status: string | null }>('select pg_xact_status($1::xid8) as status', [
      attempt.transactionId,
    ])
    await client.query('rollback')
    return rows[0]?.status === 'committed'
  }

  private async begin(client: pg.Client): Promise<void> {
    // Two statements of one simple query: the lock is taken before the next statement's snapshot is.
    await client.query(`begin isolation level read committed; select pg_advisory_xact_lock(${logLock})`)
  }

  private async transaction(client: pg.Client, attempt: Attempt): Promise<void> {
    // Sent together: the snapshots of the others are taken when the first has the lock.
    const [, check, overtaken] = await sentTogether(client, () =>
      Promise.all([this.begin(client), this.check(client, attempt), this.overtaken(client, attempt)]),
    )
    attempt.leaveOut(overtaken)
    attempt.transactionId = check.xid
    await settleDuplicates(attempt, check.done)
    await this.rebuildMoved(attempt, check)
    await attempt.signed()
    const batch = attempt.prepare(check.last)
    if (batch.facts.length === 0 && batch.lanes.length === 0) {
      await client.query('rollback')
      return
    }
    const queries = statements(batch, this.options.serverName)
    attempt.commitSent = true
    const [sent, commit] = sentTogether(client, () => [
      queries.map((statement) => client.query(statement)),
      client.query('commit'),
    ])
    const results = await Promise.allSettled(sent)
    const failure = results.find((result) => result.status === 'rejected')
    const committed = await settled(commit)
    if (failure !== undefined) {
      attempt.commitSent = committed instanceof Error && isConnectionLost(committed)
      throw failure.reason
    }
    if (committed instanceof Error) throw committed
  }

  private async check(client: pg.Client, attempt: Attempt): Promise<Check> {
    const keys = attempt.transactions()
    const { rows } = await client.query<{
      heads: [RoomNumber, number][] | null
      done: [number, string, EventNumber][] | null
      held: RoomNumber[] | null
      last: Position
      xid: string
    }>({
      name: 'log-check',
      text: `
        with heads as materialized (
          select room, head_version from room where room = any($1::int[]) order by room for update
        )
        select
          (select json_agg(json_build_array(room, head_version)) from heads) as heads,
          (select json_agg(json_build_array(d, k, made.event)) from json_to_recordset($2) as asked (d bigint, k text),
             -- lateral and limited: an index look-up each; as a join it was planned as a scan of the whole table
             lateral (select event from client_transaction where device = d and key = decode(k, 'hex') limit 1) as made
          ) as done,
          (select json_agg(distinct asked.room) from json_to_recordset($4) as asked (room int, id text, is_new boolean),
             lateral (
               select from event where event.room = asked.room and event_id = id and (asked.is_new or anchor is not null) limit 1
             ) as written
          ) as held,
          setval('log_position', nextval('log_position') + $3::bigint) as last,
          pg_current_xact_id()::text as xid`,
      values: [
        attempt.rooms(),
        JSON.stringify(keys),
        Math.max(0, attempt.allocated - 1),
        JSON.stringify(attempt.receivedEvents()),
      ],
    })
    const row = rows[0]!
    return {
      heads: new Map(row.heads ?? []),
      done: row.done ?? [],
      held: new Set(row.held),
      last: row.last,
      xid: row.xid,
    }
  }

  /** Which of the batch's memberships are to replace one that is not there any more. */
  private async overtaken(client: pg.Client, { memberships }: Attempt): Promise<MembershipEntry[]> {
    if (memberships.length === 0) return []
    const { rows } = await client.query<{ n: number }>({
      name: 'log-check-memberships',
      text: `
        select n from json_to_recordset($1) as x (n int, room int, user_id text, replaces bigint)
          left join membership using (room, user_id)
        where position is distinct from replaces`,
      values: [
        JSON.stringify(
          memberships.map(({ membership: { room, user }, replaces }, n) => ({ n, room, user_id: user, replaces })),
        ),
      ],
    })
    return rows.map(({ n }) => memberships[n]!)
  }

  private async rebuildMoved(attempt: Attempt, { heads, held }: Check): Promise<void> {
    for (const [lane, entries] of attempt.byLane) {
      const first = entries[0]?.change
      if (first === undefined) continue
      // A room that is being made has no head, unless somebody else has made it meanwhile.
      const isMoved = (heads.get(lane.room) ?? 0) !== first.builtOn
      const isStale = lane.isStale && first.created === undefined
      if (isMoved || isStale || held.has(lane.room)) await lane.rebuild()
    }
  }

  /** What was committed is neither written again nor refused, whatever fails from here on. */
  private async afterCommit(attempt: Attempt): Promise<void> {
    try {
      await this.publishOwn(attempt)
    } catch (cause) {
      this.options.logger.error({ err: cause }, 'could not read what other processes wrote; ours is read with it')
      for (const lane of attempt.byLane.keys()) lane.reset()
    }
    if (attempt.facts.length > 0) this.options.onCommit(attempt.last!)
    attempt.settle()
  }

  private async publishOwn({ first, last, facts, byLane }: Attempt): Promise<void> {
    const { log } = this.options
    if (first !== undefined) {
      const gap = (first - 1) as Position
      // Before a position is published, what others committed below it is loaded.
      if (gap > log.published) await this.publishForeign(gap)
    }
    for (const fact of facts) {
      if (fact.kind === 'state-change' && fact.completes === true) await this.options.readJudgedAnew(fact.room)
    }
    for (const [lane, entries] of byLane) lane.committed(entries.filter((entry) => entry.change !== undefined))
    if (last !== undefined) log.publish(facts, last, 'here')
  }
}

interface Check {
  readonly heads: ReadonlyMap<RoomNumber, number>
  readonly done: readonly [device: number, key: string, event: EventNumber][]
  /** Rooms in which an event that was received has been written by somebody else. */
  readonly held: ReadonlySet<RoomNumber>
  readonly last: Position
  readonly xid: string
}

/** One try at writing a batch: which entries take part, and what came of them. */
class Attempt {
  readonly byLane: Map<RoomLane, RoomEntry[]>
  readonly facts: Fact[] = []
  first: Position | undefined
  last: Position | undefined
  transactionId = ''
  commitSent = false
  /** Positions that were asked for: one for each event and fact, also for events that need none as it is. */
  readonly allocated: number
  readonly memberships: readonly MembershipEntry[]
  private readonly overtaken = new Set<MembershipEntry>()
  private readonly factPositions = new Map<FactsEntry, Position>()
  constructor(readonly entries: readonly Entry[]) {
    this.byLane = new Map()
    this.memberships = entries.filter((entry) => entry.kind === 'membership')
    for (const entry of entries) {
      if (entry.kind !== 'room' || entry.duplicateOf !== undefined || entry.change === undefined) continue
      const entriesOfLane = this.byLane.get(entry.lane)
      if (entriesOfLane === undefined) this.byLane.set(entry.lane, [entry])
      else entriesOfLane.push(entry)
    }
    this.allocated = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
  }

  rooms(): RoomNumber[] {
    return [...this.byLane.keys()].map((lane) => lane.room)
  }

  /** Signatures are made on other threads while a batch gathers and its transaction begins. */
  async signed(): Promise<void> {
    for (const entries of this.byLane.values())
      for (const { signing } of entries) if (signing !== undefined) await signing
  }

  transactions(): { d: number; k: string }[] {
    const keys: { d: number; k: string }[] = []
    for (const entries of this.byLane.values()) {
      for (const { change } of entries) {
        for (const { transaction } of change?.events ?? []) {
          if (transaction !== undefined) keys.push({ d: transaction.device, k: transaction.key })
        }
      }
    }
    return keys
  }

  /** Of events from other servers that are not built on the head, another process may write the same: who comes second sees it. */
  receivedEvents(): { room: RoomNumber; id: string; is_new: boolean }[] {
    const received: { room: RoomNumber; id: string; is_new: boolean }[] = []
    for (const [{ room }, entries] of this.byLane) {
      for (const { receivedId, change } of entries) {
        const parts = change?.events[0]?.received
        if (receivedId !== undefined) received.push({ room, id: receivedId, is_new: parts?.promoted !== true })
      }
    }
    return received
  }

  leaveOut(overtaken: readonly MembershipEntry[]): void {
    for (const entry of overtaken) this.overtaken.add(entry)
  }

  /** Gives every live event and fact its position and gathers the rows. Rebuilt entries have as many events as before. */
  prepare(last: Position): Batch {
    this.facts.length = 0
    const begin = last - Math.max(1, this.allocated) + 1
    let next = begin
    const take = () => {
      if (next > last) throw new Error('a change grew while it was rebuilt')
      return next++ as Position
    }
    for (const entry of this.entries) {
      if (entry.kind === 'facts') this.placeFacts(entry, take)
      else if (entry.kind === 'membership') this.placeMembership(entry, take)
      else if (entry.change !== undefined && entry.duplicateOf === undefined)
        this.placeChange(entry, entry.change, take)
    }
    // Positions that nobody took are holes, and published with the rest: nobody looks for facts of others there.
    this.first = this.allocated === 0 ? undefined : (begin as Position)
    this.last = this.allocated === 0 ? undefined : last
    const lanes = [...this.byLane].flatMap(([lane, entries]) => {
      const changes = entries.flatMap((entry) => entry.change ?? [])
      return changes.length === 0 ? [] : [{ room: lane.room, changes, ...lane.uncommittedSegments() }]
    })
    return { facts: this.facts, lanes }
  }

  private placeFacts(entry: FactsEntry, take: () => Position): void {
    for (const fact of entry.facts) {
      const position = take()
      this.facts.push({ ...fact, position } as Fact)
      this.factPositions.set(entry, position)
    }
  }

  private placeMembership(entry: MembershipEntry, take: () => Position): void {
    const { room, user } = entry.membership
    const isOfThem = (fact: Fact) => fact.kind === 'membership' && fact.room === room && fact.user === user
    // What stands before it in the batch has replaced that one.
    if (this.facts.some(isOfThem)) this.overtaken.add(entry)
    if (this.overtaken.has(entry)) return
    this.facts.push({ kind: 'membership', position: take(), event: undefined, ...entry.membership })
  }

  private placeChange({ lane: { room } }: RoomEntry, change: RoomChange, take: () => Position): void {
    this.placeEvents(change, take)
    if (change.completion === undefined) return
    const { memberships, before, after, cause } = change.completion
    const position = take()
    this.facts.push({ kind: 'state-change', position, room, before, after, cause, completes: true })
    for (const membership of memberships) {
      this.facts.push({ kind: 'membership', position, room, strippedState: undefined, ...membership })
    }
  }

  private placeEvents(change: RoomChange, take: () => Position): void {
    for (const { stored, order, stateChange, memberships, highlights } of change.events) {
      if (order !== 'live') continue
      const position = take()
      stored.position = position
      stored.anchor = position
      stored.minor = 0
      const { room, number: event } = stored
      this.facts.push({ kind: 'event', position, room, event: stored })
      if (stateChange !== undefined)
        this.facts.push({ kind: 'state-change', position, room, cause: event, ...stateChange })
      for (const membership of memberships) {
        this.facts.push({ kind: 'membership', position, room, strippedState: undefined, ...membership })
      }
      for (const user of highlights) this.facts.push({ kind: 'highlight', position, room, user, event })
    }
  }

  settle(): void {
    for (const entry of this.entries) {
      if (entry.kind === 'facts') entry.resolve(this.factPositions.get(entry) ?? (0 as Position))
      else if (entry.kind === 'membership') entry.resolve(!this.overtaken.has(entry))
      else if (entry.refusal !== undefined) entry.reject(entry.refusal)
      else entry.resolve()
    }
  }
}

/** Entries whose client transaction was already written by another process leave the batch; the chain is built again without them. */
async function settleDuplicates(attempt: Attempt, done: Check['done']): Promise<void> {
  if (done.length === 0) return
  const written = new Map(done.map(([device, key, event]) => [`${device}:${key}`, event]))
  for (const [lane, entries] of attempt.byLane) {
    const kept = entries.filter((entry) => {
      entry.duplicateOf = duplicateOf(entry, written)
      return entry.duplicateOf === undefined
    })
    if (kept.length === entries.length) continue
    for (const entry of entries) if (entry.duplicateOf !== undefined) entry.change = undefined
    attempt.byLane.set(lane, kept)
    await lane.rebuild()
  }
}

function duplicateOf(entry: RoomEntry, written: ReadonlyMap<string, EventNumber>): EventNumber | undefined {
  for (const { transaction } of entry.change?.events ?? []) {
    const event = transaction && written.get(`${transaction.device}:${transaction.key}`)
    if (event !== undefined) return event
  }
  return undefined
}

function sizeOf(entry: Entry): number {
  if (entry.kind === 'facts') return entry.facts.length
  if (entry.kind === 'membership') return 1
  return (entry.change?.events.length ?? 0) + (entry.change?.completion === undefined ? 0 : 1)
}

const lanesOf = (entries: readonly Entry[]): Set<RoomLane> =>
  new Set(entries.flatMap((entry) => (entry.kind === 'room' ? [entry.lane] : [])))

function groupsOf(entries: readonly Entry[]): Entry[][] {
  const groups = new Map<unknown, Entry[]>()
  for (const entry of entries) {
    const key = entry.kind === 'room' ? entry.lane : entry
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [entry])
    else group.push(entry)
  }
  return [...groups.values()]
}

const settled = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (cause: unknown) => cause,
  )

const codeOf = (cause: unknown): string => String((cause as { code?: unknown } | null)?.code ?? '')

/** Lost before or during a statement; also when Postgres ended the session: shutdown, restart, the idle timeout. */
export function isConnectionLost(cause: unknown): boolean {
  const code = codeOf(cause)
  if (/^(08|57P0|25P03)/.test(code)) return true
  if (/^(ECONN|EPIPE|ENOENT|ETIMEDOUT|EHOSTUNREACH)/.test(code)) return true
  if (cause instanceof NotConnected) return true
  return cause instanceof Error && /Connection terminated|not queryable|Client has encountered/.test(cause.message)
}

/** Disk full, out of memory, too many connections, internal errors: the next batch would fail alike. */
const isOutOfResources = (cause: unknown): boolean => /^(53|58|XX)/.test(codeOf(cause))

export const newLogEpoch = (): string => randomUUID()
