/**
 * Working off what is staged of one room, by the process that has its lease.
 *
 * Each PDU goes through four stations, and each by itself: it is *checked* (format, signatures, content hash; keys may
 * have to be fetched), it *waits* while an event it stands on is staged, too, it has its *gap* filled from peers when what
 * it stands on is missing, and it is *handed over* to the room's lane with all others that are ready, so that they share a
 * commit. Network happens in the first and third only, in tasks of their own: a PDU that waits for a peer holds up the
 * PDUs that stand on it and nothing else. Of what has a gap before it only so much is kept in hand, and gaps are filled
 * side by side for different origins: whoever sends PDUs that stand on nothing keeps its own waiting.
 *
 * A PDU leaves when it is stored (its row goes with that transaction), dropped, or known already; or it stays staged with
 * a reason and a time for the next attempt, which is no verdict.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { HeldEvent } from '../../store/held-events.js'
import { isPauseDue, pause } from '../../store/pauses.js'
import { duePdus, postpone, stagedAmong, unstage, type StagedPdu } from '../../store/staged-pdus.js'
import { DatabaseUnavailable } from '../../store/log-writer.js'
import type { Verdict } from '../../protocol/verdict.js'
import { EventsUnknown, HeadMoved, type Received } from '../arrival.js'
import type { KnownRoom } from '../known-room.js'
import { Budget, budgetOf } from './asking.js'
import type { DropReason } from './counters.js'
import { Fetching } from './fetching.js'
import { fillGap, type StateAfter } from './fill-gap.js'
import type { InboundDeps } from './inbound-deps.js'
import { inOrder } from './in-order.js'
import { keysOfBatch, type KeysOf } from './keys-of-batch.js'
import { isTooCostly, NotNow } from './not-now.js'
import { isDropped, type Pdu } from './read-pdu.js'
import { checkPdu, checkPolicy, readSignedPdu, receive, receiveAll, type Checked } from './receive-pdu.js'
import type { ReadPdu } from './transaction.js'

/** PDUs of a room that are loaded or handed over at once. */
const AT_ONCE = 200
/** In memory, those that have a gap before them; and all, so that those without one find place beside them. */
const MOST_GAPPED = 600
const MOST_IN_HAND = MOST_GAPPED + AT_ONCE
/** Gaps of a room that are filled at once, no two of one origin. */
const GAPS_AT_ONCE = 4

interface Item {
  readonly row: StagedPdu
  readonly pdu: Pdu
  station: 'checking' | 'checked' | 'busy'
  policy?: Verdict
}

/** A PDU that cannot go yet, and what it stands on that is not here. */
interface Stuck {
  readonly item: Item
  readonly missing: readonly string[]
}

/** A PDU that has a gap before it, or stands on one that has: `first`, by its id. */
interface Gapped {
  readonly item: Item
  readonly first: string
}

/** A PDU that waits for another event, which is staged and to be tried again at that time. */
interface Wait {
  readonly pdu: StagedPdu
  readonly nextAttemptTs: number
  readonly waitsFor: string
}

export class RoomInbox {
  private readonly items = new Map<number, Item>()
  private readonly tasks = new Set<Promise<void>>()
  /** The PDUs whose gaps are being filled, by their origins. */
  private readonly filling = new Map<string, Item>()
  /** Origins that had their turn to have a gap filled, while others have not. */
  private readonly served = new Set<string>()
  /** Staged by this process just now, and to be taken in the next round. */
  private offered: ReadPdu[] = []
  /** There may be rows that are neither in hand nor offered. */
  private hasMore = false
  private hasEnded = false
  /** A peer can make thousands wait: why stands with each, and the log says it once for all that are worked off together. */
  private hasWarned = false
  private happened: (() => void) | undefined
  private hasHappened = false

  constructor(
    private readonly deps: InboundDeps,
    private readonly name: KnownRoom,
    private readonly closing: AbortSignal,
    /** Called every round, while there is something to do: the lease is to last. */
    private readonly renew: () => Promise<boolean>,
  ) {}

  /** Something was staged: `read`, or what has to be loaded. False: this inbox works no more. */
  wake(read: readonly ReadPdu[]): boolean {
    if (this.hasEnded) return false
    const inHand = this.items.size + this.offered.length
    // After others that were not loaded yet, it is loaded in its turn.
    if (read.length === 0 || this.hasMore || inHand + read.length > MOST_IN_HAND) this.hasMore = true
    else this.offered.push(...read)
    this.notice()
    return true
  }

  /** Until nothing is due, or the lease is lost, or the process ends. What is under way is waited for. */
  async run(): Promise<void> {
    try {
      while (!this.closing.aborted && (await this.renew())) {
        this.take(this.offered.splice(0))
        if (this.hasMore) await this.load()
        await this.handOver()
        // What ended while others were handed over may have made more ready.
        if (this.tasks.size > 0 || this.hasHappened) await this.somethingHappens()
        else if (!this.hasMore) return
      }
    } finally {
      this.hasEnded = true
      await Promise.allSettled(this.tasks)
    }
  }

  private notice(): void {
    this.hasHappened = true
    this.happened?.()
  }

  /** What happens in one turn of the event loop is looked at together. */
  private async somethingHappens(): Promise<void> {
    if (!this.hasHappened) await new Promise<void>((resolve) => (this.happened = resolve))
    await nextTurn()
    this.happened = undefined
    this.hasHappened = false
  }

  private start(task: () => Promise<void>): void {
    const running = task()
      .catch((cause: unknown) => {
        this.deps.logger.error({ err: cause, room_id: this.name.roomId }, 'working off staged PDUs failed')
      })
      .finally(() => {
        this.tasks.delete(running)
        this.notice()
      })
    this.tasks.add(running)
  }

  // Loading and checking.

  private async load(): Promise<void> {
    const room = MOST_IN_HAND - this.items.size
    if (room <= 0) return
    const { db, now } = this.deps
    const limit = Math.min(AT_ONCE, room)
    const rows = await duePdus(db, this.name.roomId, now(), { except: [...this.items.keys()], limit })
    this.hasMore = rows.length === limit
    await this.takeRows(rows)
  }

  private async takeRows(rows: readonly StagedPdu[]): Promise<void> {
    const read: ReadPdu[] = []
    for (const row of rows) {
      if (isPauseDue()) await pause()
      const pdu = readSignedPdu(this.name.rules, this.name.roomId, row.text)
      if (isDropped(pdu)) this.start(() => this.drop(row, pdu.dropped, pdu.why))
      else read.push({ row, pdu })
    }
    this.take(read)
  }

  private take(read: readonly ReadPdu[]): void {
    const items: Item[] = read
      .filter(({ row }) => !this.items.has(row.staged))
      .map(({ row, pdu }) => ({ row, pdu, station: 'checking' }))
    for (const item of items) this.items.set(item.row.staged, item)
    const keys = keysOfBatch(
      this.deps.asking,
      this.name.rules,
      items.map(({ pdu }) => pdu),
    )
    for (const item of items) this.start(() => this.attempt(item, () => this.check(item, keys)))
  }

  private async check(item: Item, keys: KeysOf): Promise<void> {
    const checked = await checkPdu(this.deps, this.name.rules, item.pdu, keys)
    if (isDropped(checked)) return this.drop(item.row, checked.dropped, checked.why)
    const { pdu, policy } = await checkPolicy(this.deps, this.name, checked)
    this.items.set(item.row.staged, { row: item.row, pdu, policy, station: 'checked' })
  }

  // Handing over.

  private async handOver(): Promise<void> {
    const checked = [...this.items.values()].filter(({ station }) => station === 'checked')
    if (checked.length === 0) return
    const { ordered, cyclic } = inOrder(
      checked,
      ({ pdu }) => pdu.event.eventId,
      ({ pdu }) => parentsOf(pdu),
    )
    for (const item of cyclic) await this.drop(item.row, 'cycle', 'it is among its own ancestors')
    // Taken before it is asked what is held: what is stored between the two is in hand, and not missing from both.
    const inHand = this.idsInHand()
    const held = await this.held(ordered)
    // Copies of an event, which other servers sent, are in no order, and go with it.
    const first = new Set(ordered)
    const copies = checked.filter((item) => !first.has(item) && this.isInLine(item))
    const ready: Item[] = []
    const stuck: Stuck[] = []
    const handed = new Set<string>()
    for (const item of [...ordered, ...copies]) {
      const missing = missingOf(item.pdu, held)
      if (missing.some((id) => !handed.has(id))) stuck.push({ item, missing })
      else if (ready.length < AT_ONCE && !handed.has(item.row.eventId)) {
        handed.add(item.row.eventId)
        ready.push(item)
      }
    }
    if (ready.length > 0) this.start(() => this.receiveAll(ready))
    await this.unstick(stuck, inHand)
  }

  private idsInHand(): ReadonlySet<string> {
    return new Set([...this.items.values()].map(({ row }) => row.eventId))
  }

  private held(items: readonly Item[]): Promise<ReadonlyMap<string, HeldEvent>> {
    const named = new Set(items.flatMap(({ pdu }) => [...parentsOf(pdu)]))
    return this.deps.held.ask({ room: this.name.room, eventIds: [...named] })
  }

  /** Parents first: the lane builds each on the one before, and they share a commit. */
  private async receiveAll(ready: readonly Item[]): Promise<void> {
    for (const item of ready) item.station = 'busy'
    const results = await receiveAll(
      this.deps,
      this.name,
      ready.map((item) => checkedOf(item)),
    )
    const failed = results.flatMap((result, i) => (result.status === 'rejected' ? [[ready[i]!, result.reason]] : []))
    const received = results.flatMap((result, i) => (result.status === 'fulfilled' ? [[ready[i]!, result.value]] : []))
    await this.leave(received as [Item, Received][])
    for (const [item, cause] of failed as [Item, unknown][]) await this.failed([item], cause)
  }

  // What cannot go yet.

  /** A PDU that stands on a staged one waits for it; those for which nothing can be waited have their gaps filled in turn. */
  private async unstick(stuck: readonly Stuck[], inHand: ReadonlySet<string>): Promise<void> {
    if (stuck.length === 0) return
    const alone = stuck.filter(({ missing }) => !missing.some((id) => inHand.has(id)))
    const staged = await stagedAmong(
      this.deps.db,
      this.name.roomId,
      alone.flatMap(({ missing }) => missing),
    )
    const gapped: Gapped[] = []
    const firsts = new Map([...this.filling.values()].map(({ row }) => [row.eventId, row.eventId]))
    // What stands on what waits waits with it.
    const waiting = new Map<string, { readonly pdu: StagedPdu; readonly nextAttemptTs: number }>()
    const waits: Wait[] = []
    for (const { item, missing } of stuck) {
      const parent = missing.map((id) => waiting.get(id) ?? staged.get(id)).find((found) => found !== undefined)
      if (parent === undefined) {
        const isFirst = !missing.some((id) => inHand.has(id))
        const first = isFirst ? item.row.eventId : missing.map((id) => firsts.get(id)).find((id) => id !== undefined)
        if (first === undefined) continue
        firsts.set(item.row.eventId, first)
        gapped.push({ item, first })
      } else if (parent.nextAttemptTs > this.deps.now()) {
        waiting.set(item.row.eventId, { pdu: item.row, nextAttemptTs: parent.nextAttemptTs })
        waits.push({ pdu: item.row, nextAttemptTs: parent.nextAttemptTs, waitsFor: parent.pdu.eventId })
      } else if (!this.items.has(parent.pdu.staged)) await this.takeRows([parent.pdu])
    }
    await this.wait(waits)
    const kept = inTurns(gapped)
    await this.makeRoom(kept.splice(MOST_GAPPED))
    this.fillGaps(kept.filter(isFirstOf).map(({ item }) => item))
  }

  private async wait(waits: readonly Wait[]): Promise<void> {
    for (const { pdu } of waits) {
      this.items.delete(pdu.staged)
      this.deps.counters.countPostponed('waits')
    }
    const postponements = waits.map(({ pdu, nextAttemptTs, waitsFor }) => ({
      staged: pdu.staged,
      reason: `waits for ${waitsFor}`,
      nextAttemptTs,
      waitsFor,
    }))
    await postpone(this.deps.db, postponements)
  }

  /** What is too much in hand is staged all the same: it comes again when what it stands on has ended, or later by itself. */
  private async makeRoom(surplus: readonly Gapped[]): Promise<void> {
    if (surplus.length === 0) return
    const nextAttemptTs = this.deps.now() + LONGEST_DELAY
    const behind = surplus.filter((one) => !isFirstOf(one))
    await this.wait(behind.map(({ item, first }) => ({ pdu: item.row, nextAttemptTs, waitsFor: first })))
    // What has ended before they waited for it would never wake them.
    const here = this.idsInHand()
    await this.endWaiting(behind.map(({ first }) => first).filter((id) => !here.has(id)))
    const [one, ...others] = surplus.filter(isFirstOf).map(({ item }) => item)
    if (one !== undefined) await this.failed([one, ...others], new NotNow('waits', 'many others lack events, too'))
    this.notice()
  }

  private fillGaps(line: readonly Item[]): void {
    while (this.filling.size < GAPS_AT_ONCE) {
      const next = this.nextOf(line)
      if (next === undefined) return
      this.fill(next, line)
    }
  }

  /** Of an origin that has none filled now, and has had no turn since the others had theirs. */
  private nextOf(line: readonly Item[]): Item | undefined {
    const free = line.filter(({ row }) => !this.filling.has(row.origin))
    const next = free.find(({ row }) => !this.served.has(row.origin))
    if (next === undefined) this.served.clear()
    return next ?? free[0]
  }

  /**
   * One at a time of an origin: what is fetched for one is often what the next one misses. Where nobody answered, the same
   * servers are not asked for each of the others in line.
   */
  private fill(item: Item, line: readonly Item[]): void {
    const { origin } = item.row
    this.filling.set(origin, item)
    this.served.add(origin)
    item.station = 'busy'
    const { deps, name } = this
    const budget = new Budget(budgetOf(item.row.attempts, deps.budget), deps.now, item.row.attempts)
    const fetching = Fetching.forPdu(deps, name, origin, item.pdu.event, budget)
    this.start(async () => {
      try {
        await this.receiveAfterGap(item, fetching)
      } catch (cause) {
        const isSilence = fetching.heardNothing && cause instanceof NotNow && cause.kind === 'peers'
        const alike = line.filter((other) => this.isInLine(other) && areAlike(item, other))
        await this.failed(isSilence ? [item, ...alike] : [item], cause)
      } finally {
        this.filling.delete(origin)
      }
    })
  }

  private isInLine = (item: Item): boolean => this.items.get(item.row.staged)?.station === 'checked'

  private async receiveAfterGap(item: Item, fetching: Fetching): Promise<void> {
    const { deps, name } = this
    const stateAfter = await fillGap(fetching, item.pdu)
    const { pdu, how } = checkedOf(item, stateAfter)
    const ofOtherRooms = fetching.otherRooms.among(pdu.event)
    await this.leave([[item, await receive(deps, name, { pdu, how: { ...how, ofOtherRooms } })]])
  }

  // How it ends.

  /** The rows of what was stored went with its transaction. */
  private async leave(received: readonly (readonly [Item, Received])[]): Promise<void> {
    const known = received.filter(([, { kind }]) => kind === 'known')
    await this.end(
      received.map(([{ row }]) => row),
      known.map(([{ row }]) => row),
    )
  }

  private async drop(row: StagedPdu, reason: DropReason, why: string): Promise<void> {
    this.deps.counters.countDropped(reason)
    const fields = { room_id: row.roomId, event_id: row.eventId, origin: row.origin, reason: why }
    this.deps.logger.info(fields, 'a PDU was dropped')
    await this.end([row], [row])
  }

  private async end(rows: readonly StagedPdu[], unstaged: readonly StagedPdu[]): Promise<void> {
    const { db } = this.deps
    await unstage(
      db,
      unstaged.map(({ staged }) => staged),
    )
    for (const { staged } of rows) this.items.delete(staged)
    await this.endWaiting(rows.map(({ eventId }) => eventId))
  }

  private async endWaiting(eventIds: readonly string[]): Promise<void> {
    if (eventIds.length === 0) return
    if (await this.deps.ended.ask({ roomId: this.name.roomId, eventIds })) this.hasMore = true
  }

  /** Whatever goes wrong with a PDU is its own affair: it stays staged. */
  private async attempt(item: Item, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (cause) {
      await this.failed([item], cause)
    }
  }

  private async failed(items: readonly [Item, ...Item[]], cause: unknown): Promise<void> {
    for (const { row } of items) this.items.delete(row.staged)
    // They are due at once when the database, or the process, is back.
    if (cause instanceof DatabaseUnavailable || this.closing.aborted) return
    const { counters, now, db } = this.deps
    const [kind, reason] = reasonOf(cause)
    this.tell(items[0].row, kind, reason, cause)
    for (const _ of items) counters.countPostponed(kind)
    const postponements = items.map(({ row: { staged, attempts } }) => {
      return { staged, reason, nextAttemptTs: now() + retryDelay(attempts) }
    })
    await postpone(db, postponements)
  }

  private tell(row: StagedPdu, kind: NotNow['kind'], reason: string, cause: unknown): void {
    const { logger } = this.deps
    const fields = {
      room_id: row.roomId,
      event_id: row.eventId,
      origin: row.origin,
      reason,
      attempts: row.attempts + 1,
    }
    if (kind === 'fault') logger.error({ ...fields, err: cause }, 'a staged PDU could not be worked off')
    else if (!this.hasWarned) logger.warn(fields, 'a staged PDU has to wait, and others of its room may, too')
    this.hasWarned ||= kind !== 'fault'
  }
}

const checkedOf = ({ row, pdu, policy }: Item, stateAfter?: StateAfter): Checked => ({
  pdu,
  how: { kind: 'live', staged: row.staged, attempts: row.attempts, policy, stateAfter },
})

/** What they miss is asked of the same servers. */
const areAlike = (one: Item, other: Item): boolean =>
  one.row.origin === other.row.origin && one.pdu.event.sender === other.pdu.event.sender

const parentsOf = ({ event }: Pdu): Set<string> => new Set([...event.prevEvents, ...event.authEvents])

const missingOf = ({ event }: Pdu, held: ReadonlyMap<string, HeldEvent>): string[] => [
  ...event.prevEvents.filter((id) => held.get(id)?.hasState !== true),
  ...event.authEvents.filter((id) => !held.has(id)),
]

const isFirstOf = ({ item, first }: Gapped): boolean => item.row.eventId === first

/** One of each origin, then another of each; of one origin in their order. */
function inTurns(gapped: readonly Gapped[]): Gapped[] {
  const turns = new Map<string, number>()
  const turnOf = ({ row: { origin } }: Item) => {
    const turn = turns.get(origin) ?? 0
    turns.set(origin, turn + 1)
    return turn
  }
  return gapped
    .map((one) => ({ one, turn: turnOf(one.item) }))
    .sort((a, b) => a.turn - b.turn)
    .map(({ one }) => one)
}

function reasonOf(cause: unknown): [kind: NotNow['kind'], reason: string] {
  if (cause instanceof NotNow) return [cause.kind, cause.message]
  if (isTooCostly(cause)) return ['resolution', cause.message]
  // What it stands on was handed over before it, and failed.
  if (cause instanceof EventsUnknown || cause instanceof HeadMoved) return ['waits', cause.message]
  return ['fault', 'a fault of this server, which its log tells of']
}

/** In ms. */
const LONGEST_DELAY = 3_600_000

/** 2, 4, 8 … seconds up to an hour. */
export const retryDelay = (attempts: number): number => Math.min(2_000 * 2 ** Math.min(attempts, 20), LONGEST_DELAY)
