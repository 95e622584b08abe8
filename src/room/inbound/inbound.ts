/**
 * Events of other servers, from their transactions into the rooms.
 *
 * Transactions are answered when what is not decided at once is staged in the database (transaction.ts). Rooms with
 * something staged take turns, so many at once (room-inbox.ts): a room whose peers hang keeps its place no longer than
 * its calls may last. Whoever stages wakes the room in memory; what other processes staged and left behind, and what has
 * a later time, is found by `poll`. Which process works off a room is said by a lease with an end.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { heldEventsOfRooms } from '../../store/held-events.js'
import { dueRooms, endWaiting, releaseLeases, takeLeases } from '../../store/staged-pdus.js'
import type { Stores } from '../../store/stores.js'
import type { Tables } from '../../store/tables.js'
import { Together } from '../../together.js'
import type { KnownRoom } from '../known-room.js'
import type { Rooms } from '../rooms.js'
import type { ServerAcls } from '../server-acls.js'
import { Asking, type AskingLimits, type BudgetLimits } from './asking.js'
import { Counters } from './counters.js'
import { Entrances, patienceForEntrances } from './entrances.js'
import type { InboundDeps } from './inbound-deps.js'
import type { Peers, PduText } from './peers.js'
import { PolicyServers } from './policy.js'
import { RoomInbox } from './room-inbox.js'
import { Transactions, type PduAnswers, type ReadPdu } from './transaction.js'

export interface InboundOptions {
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly rooms: Rooms
  readonly acls: ServerAcls
  readonly peers: Peers
  readonly serverName: string
  readonly logger: InboundDeps['logger']
  /** By which leases are told to be this process's; free when it is gone. */
  readonly holder?: string | undefined
  readonly now?: () => number
  readonly config?: Partial<InboundConfig>
}

export interface InboundConfig {
  readonly asking: AskingLimits
  /** Of one PDU, at its first attempt. */
  readonly budget: BudgetLimits
  /** Rooms that are worked off at once. Most of them wait for the database or for peers. */
  readonly roomsAtOnce: number
  /** How long a room is a process's own without a sign of life, in ms. */
  readonly lease: number
}

export const inboundConfig: InboundConfig = {
  asking: { timeout: 10_000, atOnce: 8 },
  budget: { pdus: 20_000, bytes: 64 * 1024 * 1024, time: 20_000 },
  roomsAtOnce: 64,
  lease: 120_000,
}

/** PDUs that are held in memory while they wait for the turn of their room. */
const MOST_KEPT = 2_000

/** In ms. A room that is always at work looks for what is due of earlier attempts no more often. */
const FRESH = 5_000

/** Of a room that is being worked off. */
interface Place {
  readonly began: number
  inbox?: RoomInbox
  /** Something was staged that its inbox did not take. */
  isWoken: boolean
  done: Promise<void>
}

export class Inbound {
  readonly counters = new Counters()
  readonly deps: InboundDeps
  private readonly config: InboundConfig
  private readonly transactions: Transactions
  private readonly closing = new AbortController()
  private readonly taking: Together<string, boolean>
  private readonly releasing: Together<string, string>
  /** Rooms in the order in which their turns come, with what was read of them. */
  private readonly waiting = new Map<string, readonly ReadPdu[]>()
  /** PDUs in `waiting`. */
  private kept = 0
  private readonly working = new Map<string, Place>()

  constructor({ peers, now = Date.now, config, holder = randomUUID(), ...options }: InboundOptions) {
    this.config = { ...inboundConfig, ...config }
    const asking = new Asking(peers, this.config.asking, this.closing.signal)
    const policies = new PolicyServers(options.rooms, asking)
    this.deps = {
      ...options,
      held: new Together((wanted) => heldEventsOfRooms(options.db, wanted)),
      ended: new Together((ended) => endWaiting(options.db, ended)),
      now,
      asking,
      policies,
      counters: this.counters,
      entrances: new Entrances(),
      budget: this.config.budget,
    }
    this.transactions = new Transactions(this.deps)
    const { db } = options
    this.taking = new Together((roomIds) => takeLeases(db, roomIds, holder, this.config.lease))
    this.releasing = new Together(async (roomIds) => {
      await releaseLeases(db, roomIds, holder)
      return roomIds
    })
  }

  /**
   * The PDUs of a transaction of `origin`, whose signature on the request was verified. `patience`: with rooms that are
   * being entered.
   */
  async transaction(origin: string, texts: readonly PduText[], patience = patienceForEntrances()): Promise<PduAnswers> {
    const { pdus, staged } = await this.transactions.take(origin, texts, patience)
    for (const [roomId, read] of staged) this.wake(roomId, read)
    return pdus
  }

  /** Rooms that have something due, whoever staged it. */
  async poll(): Promise<void> {
    const most = 4 * this.config.roomsAtOnce
    for (const roomId of await dueRooms(this.deps.db, this.deps.now(), most))
      if (!this.isFresh(roomId)) this.wake(roomId)
  }

  /** What is due there is, as a rule, what was just staged and is in hand. */
  private isFresh(roomId: string): boolean {
    const working = this.working.get(roomId)
    return this.waiting.has(roomId) || (working !== undefined && performance.now() - working.began < FRESH)
  }

  /** Until nothing is due any more of what is known here. */
  async settled(): Promise<void> {
    while (this.working.size > 0) await Promise.all([...this.working.values()].map(({ done }) => done))
  }

  /** What is under way ends; what is not decided stays staged. */
  async close(): Promise<void> {
    this.closing.abort()
    this.waiting.clear()
    await this.settled()
  }

  /** `read`: all that was staged; it need not be read back. */
  private wake(roomId: string, read: readonly ReadPdu[] = []): void {
    if (this.closing.signal.aborted) return
    const working = this.working.get(roomId)
    if (working === undefined) {
      this.keep(roomId, read)
      this.begin()
    } else if (working.inbox?.wake(read) !== true) working.isWoken = true
  }

  /** What is too much is read from the database when it is the room's turn, with what came before it. */
  private keep(roomId: string, read: readonly ReadPdu[]): void {
    const before = this.waiting.get(roomId)
    const isKept = read.length > 0 && before?.length !== 0 && this.kept + read.length <= MOST_KEPT
    this.kept += isKept ? read.length : -(before?.length ?? 0)
    this.waiting.set(roomId, isKept ? [...(before ?? []), ...read] : [])
  }

  private begin(): void {
    for (const [roomId, read] of this.waiting) {
      if (this.working.size >= this.config.roomsAtOnce) return
      this.waiting.delete(roomId)
      this.kept -= read.length
      const place: Place = { began: performance.now(), isWoken: false, done: Promise.resolve() }
      this.working.set(roomId, place)
      place.done = this.work(roomId, read, place).finally(() => this.end(roomId, place))
    }
  }

  private end(roomId: string, { isWoken }: Place): void {
    this.working.delete(roomId)
    if (this.closing.signal.aborted) return
    if (isWoken) this.keep(roomId, [])
    this.begin()
  }

  /** Taken again when a third of its time is over. */
  private leaseOn(roomId: string): () => Promise<boolean> {
    const { now } = this.deps
    let taken = -Infinity
    return async () => {
      if (now() - taken < this.config.lease / 3) return true
      taken = now()
      return this.taking.ask(roomId)
    }
  }

  private async work(roomId: string, read: readonly ReadPdu[], place: Place): Promise<void> {
    const { stores, logger } = this.deps
    try {
      const name = await stores.names.find(roomId)
      if (name?.rules === undefined) return
      const renew = this.leaseOn(roomId)
      place.inbox = new RoomInbox(this.deps, name as KnownRoom, this.closing.signal, renew)
      place.inbox.wake(read)
      await place.inbox.run()
      await this.releasing.ask(roomId)
    } catch (cause) {
      logger.error({ err: cause, room_id: roomId }, 'working off the staged PDUs of a room failed')
    }
  }
}
