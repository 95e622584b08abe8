/**
 * Fetching the members of rooms that this server came into without them (entering.ts), until all are here; then what was
 * judged meanwhile is judged again (../judge-anew.ts). https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 *
 * What is to be fetched is a row, written with the join: after a crash it goes on, in whichever process finds it first. The
 * server that let us in is asked, then others that are in the room, in turn, with growing pauses. What was fetched is
 * stored as outliers on the way, so that nothing but the time of an attempt is lost; the step from the state without members
 * to the whole one is one transaction.
 */
import type { EventNumber } from '../../protocol/numbers.js'
import { entries } from '../../protocol/state-trie.js'
import { joinedOfServer } from '../../store/memberships.js'
import {
  postponePartialJoin,
  releasePartialJoin,
  retryStaged,
  serversToAsk,
  takeDuePartialJoins,
  type PartialJoin,
} from '../../store/partial-joins.js'
import { stateEventNumbers } from '../../store/state-events.js'
import type { StoredEvent } from '../../store/stored-event.js'
import { HeadMoved } from '../arrival.js'
import type { KnownRoom } from '../known-room.js'
import { Budget, type BudgetLimits } from './asking.js'
import { Fetching } from './fetching.js'
import { holdState } from './entering.js'
import type { InboundDeps } from './inbound-deps.js'
import { stateOf } from './missing-state.js'
import { NotNow } from './not-now.js'
import { retryDelay } from './room-inbox.js'

export interface PartialJoinsConfig {
  /** For the answer of one server, in ms. */
  readonly timeout: number
  /** Rooms at once: each may hold a state in memory. */
  readonly atOnce: number
  /** Servers that are asked in one attempt. */
  readonly servers: number
}

export const partialJoinsConfig: PartialJoinsConfig = { timeout: 120_000, atOnce: 2, servers: 5 }

/** Of one answer. */
const budget: BudgetLimits = { pdus: 1_000_000, bytes: 512 * 1024 * 1024, time: 600_000 }
/** Longer than an attempt lasts, in ms. What a process that died held is free at once. */
const LEASE = 1_800_000
/** Servers of a room among which those to be asked are chosen. */
const MOST_SERVERS = 100
/** Another process writes into the room at the same time. */
const MOST_MOVES = 20
/** Nobody of ours is in the room, and so nobody tells us anything of it. In ms. */
const NOBODY_THERE = 3_600_000

export class PartialJoins {
  private readonly closing = new AbortController()
  private readonly config: PartialJoinsConfig
  private readonly working = new Set<Promise<void>>()
  private looking: Promise<void> | undefined
  private hasNews = false

  constructor(
    private readonly deps: InboundDeps,
    /** By which leases are told to be this process's. */
    private readonly holder: string,
    config: Partial<PartialJoinsConfig> = {},
  ) {
    this.config = { ...partialJoinsConfig, ...config }
  }

  /** There is one more. */
  wake(): void {
    this.hasNews = true
    this.looking ??= this.look().finally(() => (this.looking = undefined))
  }

  /** Those that are due, whoever left them. */
  async poll(): Promise<void> {
    this.wake()
    await this.looking
  }

  /** Until nothing is under way. */
  async settled(): Promise<void> {
    while (this.looking !== undefined || this.working.size > 0) await Promise.all([this.looking, ...this.working])
  }

  async close(): Promise<void> {
    this.closing.abort()
    await this.settled()
  }

  private async look(): Promise<void> {
    const { db, now, logger } = this.deps
    try {
      while (this.hasNews && !this.closing.signal.aborted && this.working.size < this.config.atOnce) {
        this.hasNews = false
        const limit = this.config.atOnce - this.working.size
        for (const join of await takeDuePartialJoins(db, this.holder, { nowTs: now(), ms: LEASE, limit })) {
          const work = this.work(join).finally(() => {
            this.working.delete(work)
            this.wake()
          })
          this.working.add(work)
        }
      }
    } catch (cause) {
      logger.error({ err: cause }, 'looking for rooms whose members are to come failed')
    }
  }

  private async work(join: PartialJoin): Promise<void> {
    const { db, logger, now, stores } = this.deps
    try {
      const name = (await stores.names.names([join.room])).get(join.room) as KnownRoom
      const isThere = (await joinedOfServer(db, join.room, this.deps.serverName, 1)).length > 0
      const failure = isThere ? await this.complete(name, join) : 'nobody of this server is in the room'
      if (failure === undefined) return
      logger.warn({ room_id: name.roomId, attempts: join.attempts + 1, reason: failure }, 'members are still to come')
      const nextAttemptTs = now() + (isThere ? retryDelay(join.attempts) : NOBODY_THERE)
      await postponePartialJoin(db, join, this.holder, { reason: failure, nextAttemptTs })
    } catch (cause) {
      if (this.closing.signal.aborted) return
      logger.error({ err: cause, room: join.room }, 'fetching the members of a room failed')
      const after = {
        reason: 'a fault of this server, which its log tells of',
        nextAttemptTs: now() + retryDelay(join.attempts),
      }
      await postponePartialJoin(db, join, this.holder, after).catch(() => undefined)
    } finally {
      if (this.closing.signal.aborted) await releasePartialJoin(db, join, this.holder).catch(() => undefined)
    }
  }

  /** Why the members are still to come; undefined when they are here. */
  private async complete(name: KnownRoom, join: PartialJoin): Promise<string | undefined> {
    let failure = 'no server to ask'
    for (const server of await this.servers(join)) {
      this.closing.signal.throwIfAborted()
      const entrance = await this.entranceOf(name)
      if (entrance === undefined) return undefined
      try {
        const state = await this.stateFrom(server, name, entrance)
        await this.judgeAnew(name, entrance, state)
        return undefined
      } catch (cause) {
        if (!(cause instanceof NotNow)) throw cause
        failure = cause.message
        this.deps.logger.info({ room_id: name.roomId, server, reason: failure }, 'a server did not tell the members')
      }
    }
    return failure
  }

  /** The one that let us in, then others, with each attempt the next. */
  private async servers({ room, resident, attempts }: PartialJoin): Promise<string[]> {
    const all = await serversToAsk(this.deps.db, room, MOST_SERVERS)
    const others = all.filter((server) => server !== resident && server !== this.deps.serverName)
    const most = this.config.servers - 1
    const from = others.length <= most ? 0 : (attempts * most) % others.length
    return [resident, ...[...others.slice(from), ...others.slice(0, from)].slice(0, most)]
  }

  private async entranceOf(name: KnownRoom): Promise<StoredEvent | undefined> {
    const { partialJoin } = (await this.deps.rooms.head(name)).head
    if (partialJoin === undefined) return undefined
    return (await this.deps.stores.events.events(name.room, [partialJoin])).get(partialJoin)
  }

  /** The whole state before our join, as events that are held. What is no member is as we were told it when we came in. */
  private async stateFrom(
    server: string,
    name: KnownRoom,
    { event, stateBefore }: StoredEvent,
  ): Promise<EventNumber[]> {
    const { deps } = this
    const fetching = new Fetching(deps, name, [server], new Budget(budget, deps.now))
    const answer = await deps.asking.ask(
      server,
      (peers, signal) => peers.state(server, name.roomId, event.eventId, signal),
      this.config.timeout,
    )
    const stateIds = await holdState(fetching, answer, this.closing.signal)
    const held = await fetching.held(stateIds)
    const state = stateOf(
      stateIds.filter((id) => held.has(id)),
      held,
    )
    const { create } = await deps.rooms.head(name)
    if (create === undefined || ![...state.values()].includes(create.number))
      throw new NotNow('peers', `${server} gave a state without m.room.create`)
    const others = new Set(await stateEventNumbers(deps.stores, name.room, stateBefore!, 'without members'))
    const told = await deps.stores.states.work(name.room, (segments) => entries(segments, stateBefore!))
    for (const [key, number] of told) if (others.has(number)) state.set(key, number)
    return [...state.values()]
  }

  private async judgeAnew(name: KnownRoom, entrance: StoredEvent, state: readonly EventNumber[]): Promise<void> {
    const { rooms, logger, db } = this.deps
    for (let moves = 0; ; moves++) {
      try {
        const differences = await rooms.complete(name, entrance.number, state)
        logger.info(
          { room_id: name.roomId, state: state.length, differences: differences.length },
          'all members are here',
        )
        for (const { eventId, was, is, reason } of differences) {
          const fields = { room_id: name.roomId, event_id: eventId, was, fate: is, reason }
          if (eventId === entrance.event.eventId)
            logger.error(fields, 'the whole state of a room does not allow our join')
          else logger.warn(fields, 'with all members an event is judged differently')
        }
        break
      } catch (cause) {
        if (!(cause instanceof HeadMoved) || moves === MOST_MOVES) throw cause
        if ((await this.entranceOf(name))?.number !== entrance.number) break
      }
    }
    // What stands on a state that a peer tells has waited for this.
    await retryStaged(db, name.roomId)
  }
}
