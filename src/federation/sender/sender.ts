/**
 * To whom something is sent when (what is sent: send-next.ts). Destinations with something to send take turns, so many at
 * once; those whose last request failed have a part of the places. Who has been asked and does not answer in a moment
 * gives its place back, and is waited for beside the others. Who has never answered begins when those are through who have.
 * So a thousand dead servers keep nobody waiting.
 *
 * A destination is woken when an event that is for it was committed here, when an EDU for it was made here, when its
 * server was heard after a failure, and by `poll`, which finds what other processes left behind and whose time has come.
 */
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { LRUCache } from 'lru-cache'
import type { RoomNumber } from '../../protocol/numbers.js'
import {
  destinationsOfRooms,
  dueDestinations,
  endWaiting,
  LeaseLost,
  type Destination,
} from '../../store/destinations.js'
import type { Fact } from '../../store/facts.js'
import { CoalescedEdus } from './coalesced-edus.js'
import type { ComposeDeps } from './compose.js'
import { Queue } from './queue.js'
import { sendNext, type Asking, type Outcome, type SendDeps } from './send-next.js'

export interface SenderOptions extends Omit<ComposeDeps, 'coalesced' | 'now'>, Pick<SendDeps, 'remote'> {
  readonly logger: {
    debug(fields: object, message: string): void
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
    error(fields: object, message: string): void
  }
  /** By which leases are told to be this process's; free when it is gone. */
  readonly holder?: string | undefined
  readonly now?: () => number
  readonly random: () => number
  readonly config?: Partial<SenderConfig>
}

export interface SenderConfig {
  /** Destinations to which something is sent at once, without those that do not answer in a moment. */
  readonly atOnce: number
  /** Destinations whose last request failed to which something is sent at once. */
  readonly failingAtOnce: number
  /** In ms. */
  readonly moment: number
  /** How long destinations that have never answered let those go first that have, in ms. */
  readonly headStart: number
  /** Destinations in all. Each is a connection, with what is sent in memory. */
  readonly most: number
  /** How long a destination is a process's own without a sign of life, in ms. Longer than a request may take. */
  readonly lease: number
  /** Transactions to a destination before it goes to the end of the queue. */
  readonly turn: number
}

export const senderConfig: SenderConfig = {
  atOnce: 64,
  failingAtOnce: 16,
  moment: 200,
  headStart: 1_000,
  most: 1_024,
  lease: 120_000,
  turn: 20,
}

/** When this process is so late, it may be that which does not hear the answers, in ms. */
const LATE = 50

/** How long nobody asks whether a destination is free, when it was not, in ms. */
const NOT_FREE = 2_000
/** Servers that send much say with every request that they are there, in ms. */
const HEARD_LASTS = 10_000

interface Waiting extends Destination {
  /** As `performance.now()`. */
  readonly since: number
}

interface Place {
  readonly isFailing: boolean
  readonly isStranger: boolean
  isWoken: boolean
  /** It was asked, and has not answered in a moment. */
  isSilent: boolean
  done: Promise<void>
}

export class FederationSender {
  readonly coalesced: CoalescedEdus
  private readonly deps: SendDeps
  private readonly config: SenderConfig
  private readonly closing = new AbortController()
  /** In the order in which their turns come. */
  private readonly waiting = new Map<string, Waiting>()
  /** Ends the head start of destinations that strangers wait for. */
  private headStart: NodeJS.Timeout | undefined
  private readonly working = new Map<string, Place>()
  /** Until when destinations are not asked for in the database, as far as is known here. */
  private readonly resting = new LRUCache<string, number>({ max: 50_000 })
  private readonly heardAt = new LRUCache<string, number>({ max: 50_000 })
  private readonly toldRooms = new Set<RoomNumber>()
  private telling: Promise<void> | undefined

  constructor(private readonly options: SenderOptions) {
    const now = options.now ?? Date.now
    // Every request that is under way listens for it.
    setMaxListeners(0, this.closing.signal)
    this.coalesced = new CoalescedEdus(now)
    this.config = { ...senderConfig, ...options.config }
    const holder = { holder: options.holder ?? randomUUID(), lease: this.config.lease }
    const queue = new Queue({ ...options, now, coalesced: this.coalesced }, holder)
    this.deps = { queue, remote: options.remote, now, random: options.random }
  }

  /** Facts that this process wrote, after their commit. */
  follow(facts: readonly Fact[]): void {
    for (const fact of facts) if (fact.kind === 'event' && fact.event.isOutgoing === true) this.toldRooms.add(fact.room)
    if (this.toldRooms.size > 0 && !this.closing.signal.aborted) this.telling ??= this.tell()
  }

  /** Something is there for these destinations. */
  wake(destinations: Iterable<Destination>): void {
    if (this.closing.signal.aborted) return
    for (const destination of destinations) this.wakeOne(destination)
    this.begin()
  }

  /** Something that may be lost is there for a destination: it is not worth more than a look into memory. */
  wakeIfAwake(name: string): void {
    if (!this.isResting(name)) this.wake([{ name, failures: this.resting.has(name) ? 1 : 0 }])
  }

  /** Whether the destination is left alone at the moment: what may be lost is not kept for it. */
  isResting(name: string): boolean {
    return (this.resting.get(name) ?? 0) > this.deps.now()
  }

  /** A server is there: it sent something, or answered. It is not waited for any longer. */
  heard(serverName: string): void {
    const now = this.deps.now()
    if (this.closing.signal.aborted || (this.heardAt.get(serverName) ?? -Infinity) > now - HEARD_LASTS) return
    this.heardAt.set(serverName, now)
    void this.endWaiting(serverName)
  }

  /** What is due, whoever left it. */
  async poll(): Promise<void> {
    this.wake(await dueDestinations(this.options.db, this.deps.now(), 4 * this.config.atOnce))
    for (const name of this.coalesced.waiting()) this.wakeIfAwake(name)
  }

  /** Until nothing is left to do of what is known here. */
  async settled(): Promise<void> {
    while (this.telling !== undefined || this.working.size > 0) {
      await Promise.all([this.telling, ...Array.from(this.working.values(), ({ done }) => done)])
    }
  }

  /** Requests are given up; what they send is kept, and goes out again. May be called twice. */
  async close(): Promise<void> {
    this.closing.abort()
    clearTimeout(this.headStart)
    this.waiting.clear()
    await this.settled()
  }

  /** One look for all rooms that are told of while it is under way. */
  private async tell(): Promise<void> {
    try {
      while (this.toldRooms.size > 0 && !this.closing.signal.aborted) {
        const rooms = [...this.toldRooms]
        this.toldRooms.clear()
        this.wake(await destinationsOfRooms(this.options.db, rooms, this.deps.now()))
      }
    } catch (cause) {
      this.options.logger.error({ err: cause }, 'destinations were not woken; they are found by the next poll')
    } finally {
      this.telling = undefined
    }
  }

  private async endWaiting(name: string): Promise<void> {
    try {
      const wasWaitedFor = await endWaiting(this.options.db, name)
      this.resting.delete(name)
      if (wasWaitedFor) this.wake([{ name, failures: 0 }])
    } catch (cause) {
      this.heardAt.delete(name)
      this.options.logger.error({ err: cause, destination: name }, 'a destination that was heard is still waited for')
    }
  }

  private wakeOne(destination: Destination): void {
    const place = this.working.get(destination.name)
    if (place === undefined) this.enqueue(destination)
    else place.isWoken = true
  }

  private enqueue(destination: Destination): void {
    const since = this.waiting.get(destination.name)?.since ?? performance.now()
    this.waiting.set(destination.name, { ...destination, since })
  }

  private begin(): void {
    const counts = { failing: 0, silent: 0, known: 0 }
    for (const { isFailing, isStranger, isSilent } of this.working.values()) {
      if (isFailing) counts.failing++
      if (isSilent) counts.silent++
      else if (!isFailing && !isStranger) counts.known++
    }
    for (const destination of this.waiting.values()) {
      if (this.working.size >= Math.min(this.config.atOnce + counts.silent, this.config.most)) return
      const { isStranger = false } = destination
      const isFailing = destination.failures > 0
      if (isFailing && counts.failing >= this.config.failingAtOnce) continue
      if (isStranger && !isFailing && counts.known > 0 && this.letsGoFirst(destination)) continue
      if (isFailing) counts.failing++
      else if (!isStranger) counts.known++
      this.waiting.delete(destination.name)
      const place: Place = { isFailing, isStranger, isWoken: false, isSilent: false, done: Promise.resolve() }
      this.working.set(destination.name, place)
      place.done = this.work(destination.name, place).finally(() => this.end(destination.name, place))
    }
  }

  private letsGoFirst({ since }: Waiting): boolean {
    const left = since + this.config.headStart - performance.now()
    if (left <= 0) return false
    this.headStart ??= setTimeout(() => {
      this.headStart = undefined
      this.begin()
    }, left)
    return true
  }

  private end(name: string, { isWoken }: Place): void {
    this.working.delete(name)
    if (this.closing.signal.aborted) return
    if (isWoken && !this.isResting(name)) this.enqueue({ name, failures: 0 })
    this.begin()
  }

  private async work(name: string, place: Place): Promise<void> {
    const { queue, now } = this.deps
    try {
      let destination = await queue.take(name)
      if (destination === undefined) return void this.resting.set(name, now() + NOT_FREE)
      for (let sent = 0; sent < this.config.turn; sent++) {
        place.isWoken = false
        const outcome = await sendNext(this.deps, destination, this.asking(place))
        this.note(name, outcome)
        if (outcome.kind === 'failed') return
        if (outcome.kind === 'nothing to send') return await queue.release(name)
        if (!outcome.more) return void (place.isWoken ||= this.coalesced.has(name))
        const failures: number = outcome.kind === 'passed over' ? destination.failures : 0
        destination = { ...destination, failures, hasOpen: false }
      }
      place.isWoken = true
      await queue.release(name)
    } catch (cause) {
      await this.failed(name, cause)
    }
  }

  private asking(place: Place): Asking {
    let timer: NodeJS.Timeout | undefined
    const { moment } = this.config
    const wait = () => {
      const due = performance.now() + moment
      timer = setTimeout(() => {
        if (performance.now() > due + LATE) return wait()
        place.isSilent = true
        this.begin()
      }, moment)
    }
    const answered = () => {
      clearTimeout(timer)
      place.isSilent = false
    }
    return { signal: this.closing.signal, asked: wait, answered }
  }

  /** Whatever it was, what waits is where it was. */
  private async failed(name: string, cause: unknown): Promise<void> {
    const { logger } = this.options
    if (cause instanceof LeaseLost) logger.info({ destination: name }, cause.message)
    else if (!this.closing.signal.aborted) {
      logger.error({ err: cause, destination: name }, 'sending to a destination failed here')
      this.resting.set(name, this.deps.now() + NOT_FREE)
    }
    await this.deps.queue.release(name).catch(() => undefined)
  }

  private note(destination: string, outcome: Outcome): void {
    if (outcome.kind === 'nothing to send' || outcome.kind === 'passed over') return
    const { logger } = this.options
    const { id: txn_id, pdus, edus, createdTs } = outcome.transaction
    const fields = { destination, txn_id, pdus, edus, lag_ms: this.deps.now() - createdTs }
    if (outcome.kind === 'sent') {
      this.resting.delete(destination)
      return logger.debug(fields, 'sent a transaction')
    }
    if (outcome.kind === 'given up') {
      const reason = String(outcome.cause)
      return logger.warn({ ...fields, reason }, 'a destination has refused this for a day; it is not sent to it')
    }
    const { failures, retryTs, cause } = outcome
    this.resting.set(destination, retryTs)
    // What it sends from now on is news.
    this.heardAt.delete(destination)
    const retry_at = new Date(retryTs).toISOString()
    logger.info({ ...fields, failures, retry_at, reason: String(cause) }, 'a destination did not take a transaction')
  }
}
