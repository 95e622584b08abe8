/**
 * `GET /sync`: the log as one client sees it. https://spec.matrix.org/v1.19/client-server-api/#syncing
 *
 * A long poll subscribes, then reads, then waits, in that order, so that nothing falls between. What it reads when it is
 * woken is in memory: the user's view, the ring of the log, the caches of rooms. An answer holds everything up to one
 * position, `next_batch`, and is written as text.
 */
import { LRUCache } from 'lru-cache'
import type { Kysely } from 'kysely'
import type { Requester } from '../accounts/requester.js'
import { FilterError, noFilter, parseFilter, type Filter } from '../protocol/filter.js'
import { invalidParam, notFound } from '../protocol/matrix-error.js'
import type { Position, RoomNumber } from '../protocol/numbers.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import { formatSyncToken, parseSyncToken, type SyncToken } from '../protocol/sync-token.js'
import type { Gate } from '../room/gate.js'
import type { Rooms } from '../room/rooms.js'
import { keyCounts } from '../store/device-keys.js'
import { filterBody } from '../store/filters.js'
import type { Log } from '../store/log.js'
import type { LogWriter } from '../store/log-writer.js'
import { StateKeyKinds } from '../store/state-key-kinds.js'
import type { Stores } from '../store/stores.js'
import type { Tables } from '../store/tables.js'
import { deleteMessages } from '../store/to-device-inbox.js'
import { forgottenRooms } from '../store/user-rooms.js'
import { readAnswer, type AnswerDeps } from './answer.js'
import { JoinedRooms } from './joined-rooms.js'
import { planOf, type Plan } from './plan.js'
import type { Presences, PresenceState } from './presence.js'
import { noNews, PresenceNews } from './presence-news.js'
import type { Reading } from './reading.js'
import { RoomSummaries } from './room-summaries.js'
import { Spacing } from './spacing.js'
import type { Typing } from './typing.js'
import type { UserView } from './user-view.js'
import { Views } from './views.js'
import { Waiter } from './waiter.js'

export interface SyncDeps {
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly log: Log
  readonly rooms: Rooms
  readonly gate: Gate
  readonly writer: Pick<LogWriter, 'reach'>
  readonly typing: Typing
  /** undefined: there is none. */
  readonly presences?: Presences | undefined
  /** Of the log (`server.log_epoch`): tokens of another one are not understood. */
  readonly epoch: string
}

export interface SyncRequest {
  readonly since?: string | undefined
  /** ms; 0 unless given. */
  readonly timeout?: number | undefined
  /** The id of a stored filter, or a filter as JSON. */
  readonly filter?: string | undefined
  readonly fullState?: boolean | undefined
  readonly stateAfter?: Reading['stateAfter'] | undefined
  /** What the client says of its user. */
  readonly setPresence?: PresenceState | undefined
}

/** Aborted when the client goes away, and when the server begins to stop. */
export interface SyncSignals {
  readonly signal: AbortSignal
  readonly shuttingDown: AbortSignal
}

/** Proxies and clients give up on what takes longer. */
const MAX_TIMEOUT = 90_000

export class Sync {
  private readonly views: Views
  private readonly presenceNews: PresenceNews | undefined
  private readonly answers: AnswerDeps
  private readonly keyKinds: StateKeyKinds
  private readonly epoch: string
  /** Filters by their text or by user and id: parsed once for all polls that come with them. */
  private readonly filters = new LRUCache<string, Filter>({ max: 1_000 })
  private readonly stopSignals = new WeakSet<AbortSignal>()
  private readonly spacing = new Spacing()
  private stopped = false

  constructor(private readonly deps: SyncDeps) {
    const { stores, log, rooms, typing, db, presences } = deps
    this.epoch = deps.epoch.replace(/[^0-9a-zA-Z]/g, '').slice(0, 8) || '0'
    const joined = new JoinedRooms(stores, log)
    const summaries = new RoomSummaries(stores, rooms)
    this.views = new Views({ stores, log, typing, joined, summaries })
    if (presences !== undefined) {
      const news = new PresenceNews(presences, typing.order, joined, this.views)
      log.subscribe((facts, origin) => news.follow(facts, origin))
      typing.watch((_room, userId, isTyping) => isTyping && presences.active(userId))
      this.presenceNews = news
    }
    this.keyKinds = new StateKeyKinds(stores.db)
    this.answers = { views: this.views, summaries, joined, typing, keyCounts: (device) => keyCounts(db, device) }
  }

  /** Ends all polls that wait. */
  close(): void {
    this.stopped = true
    this.views.wakeAll()
    this.views.close()
    this.deps.typing.close()
    this.deps.presences?.close()
  }

  /**
   * The body of the answer.
   * @throws MatrixError 400 for a token or a filter that is none, 404 for a filter that is not stored.
   */
  async sync(requester: Requester, request: SyncRequest, signals: SyncSignals): Promise<string> {
    const since = request.since === undefined ? undefined : await this.understood(parseSyncToken(request.since))
    const filter = await this.filter(requester.userId, request.filter)
    this.listenTo(signals.shuttingDown)
    this.deps.presences?.syncing(requester.userId, requester.device, request.setPresence, request.timeout ?? 0)
    // No function of its own that awaits: a waiting poll pays for each of them with half a kilobyte.
    return this.views.using(requester.userId, (view) => {
      const poll = { requester, view, filter, request, signals }
      return since === undefined || request.fullState === true ? this.readOnce(poll, since) : this.poll(poll, since)
    })
  }

  private async readOnce(poll: Poll, since: SyncToken | undefined): Promise<string> {
    return answered(poll, await this.read(poll, since))
  }

  /** undefined, as for an initial sync: a position of another log, or one that this log has not reached. */
  private async understood(token: SyncToken): Promise<SyncToken | undefined> {
    return token.epoch === this.epoch && (await this.deps.writer.reach(token.position)) ? token : undefined
  }

  /** The position that a token of /sync stands for; 0, which is before everything, for one of another log. */
  async positionOf(token: string): Promise<Position> {
    return (await this.understood(parseSyncToken(token)))?.position ?? (0 as Position)
  }

  private async poll(poll: Poll, from: SyncToken): Promise<string> {
    const { requester, view, request, signals } = poll
    const deadline = performance.now() + Math.min(Math.max(request.timeout ?? 0, 0), MAX_TIMEOUT)
    await this.acknowledge(requester, view, from)
    let since = from
    for (;;) {
      await this.space(poll, deadline)
      const waiter = new Waiter()
      view.waiters.add(waiter)
      const onGone = () => waiter.wake('gone')
      signals.signal.addEventListener('abort', onGone)
      try {
        const answer = await this.read(poll, since)
        const remaining = deadline - performance.now()
        if (!answer.isEmpty || remaining <= 0 || this.stopped || signals.signal.aborted) return answered(poll, answer)
        const reason = await waiter.woken(remaining)
        const hasMore = reason === 'time' && this.presenceNews?.hasMore(view, answer.next) === true
        if (reason !== 'news' && !hasMore) return answered(poll, answer)
        // What was looked at had nothing for this client: it is not looked at again.
        since = answer.next
      } finally {
        view.waiters.delete(waiter)
        signals.signal.removeEventListener('abort', onGone)
      }
    }
  }

  /** In a busy room what happens within a moment goes into one answer. Whoever does not wait is not made to. */
  private async space({ requester, view }: Poll, deadline: number): Promise<void> {
    const now = performance.now()
    const next = Math.min((view.answeredAt.get(requester.device) ?? -Infinity) + this.spacing.now(), deadline)
    if (next > now && !this.stopped) await new Promise((resolve) => setTimeout(resolve, next - now))
  }

  private async read(poll: Poll, since: SyncToken | undefined): Promise<Answer> {
    const { log, typing, stores, rooms, gate } = this.deps
    const { requester, view, filter, request } = poll
    const forgotten = await this.prepare(poll, since)
    const position = since?.position
    const typingNow = since === undefined ? typing.changedSince('', 0) : typing.changedSince(since.process, since.count)
    const { process, count } = typing.order
    const fullState = request.fullState === true
    const plan = planOf(view, log, { since: position, fullState, filter, typing: typingNow, forgotten })
    const reading: Reading = {
      stores,
      rooms,
      gate,
      keyKinds: this.keyKinds,
      requester,
      view,
      filter,
      since: position,
      now: plan.now,
      fullState,
      stateAfter: request.stateAfter ?? [],
    }
    const presence = this.presenceNews?.of(view, filter.presence, since, metIn(plan)) ?? noNews
    const messagesSince = since?.messages ?? position ?? (0 as Position)
    const parts = await readAnswer(this.answers, reading, plan, messagesSince, typingNow, presence)
    const next: SyncToken = {
      position: plan.now,
      epoch: this.epoch,
      process,
      count,
      messages: parts.messagesUpTo < plan.now ? parts.messagesUpTo : undefined,
    }
    const body = `{"next_batch":${JSON.stringify(formatSyncToken(next))},${parts.text}}`
    // What goes along only, and was not told, is still to be told.
    const isUntold = presence.texts.length > 0 && !presence.isNews && since !== undefined
    return { body, isEmpty: parts.isEmpty, next: isUntold ? { ...next, ...ephemeralOf(since) } : next }
  }

  /** What a plan needs to be at hand. Resolves with the rooms that are not to be shown as left. */
  private async prepare({ view, filter }: Poll, since: SyncToken | undefined): Promise<ReadonlySet<RoomNumber>> {
    if (since !== undefined) {
      await this.views.withHistory(view, since.position)
      return none
    }
    if (!filter.room.includeLeave) return none
    await this.views.withHistory(view, 0 as Position)
    return forgottenRooms(this.deps.stores.db, view.userId)
  }

  /** A token shows that the device has what came before it: messages up to there are done with. */
  private async acknowledge(requester: Requester, view: UserView, since: SyncToken): Promise<void> {
    const has = since.messages ?? since.position
    const known = view.inboxes.get(requester.device)
    if (known !== undefined && known.newest <= known.deleted) return
    // Noted first: messages that come meanwhile are noted there too.
    const inbox = { deleted: has, newest: known?.newest ?? has }
    view.inboxes.set(requester.device, inbox)
    const newest = await deleteMessages(this.deps.stores.db, requester.device, has).catch((cause: unknown) => {
      view.inboxes.delete(requester.device)
      throw cause
    })
    if (newest !== undefined && newest > inbox.newest) inbox.newest = newest
  }

  private async filter(userId: string, text: string | undefined): Promise<Filter> {
    if (text === undefined || text === '') return noFilter
    const isInline = text.startsWith('{')
    const key = isInline ? text : `${userId} ${text}`
    const known = this.filters.get(key)
    if (known !== undefined) return known
    const filter = parsed(isInline ? text : await this.storedFilter(userId, text))
    if (key.length <= 4_096) this.filters.set(key, filter)
    return filter
  }

  private async storedFilter(userId: string, id: string): Promise<string> {
    if (!/^\d{1,9}$/.test(id)) throw invalidParam('filter is neither the id of a filter nor a JSON object')
    const body = await filterBody(this.deps.stores.db, userId, Number(id))
    if (body === undefined) throw notFound('There is no filter with this id')
    return body
  }

  /** One listener for all polls. */
  private listenTo(shuttingDown: AbortSignal): void {
    if (shuttingDown.aborted) this.stopped = true
    if (this.stopSignals.has(shuttingDown)) return
    this.stopSignals.add(shuttingDown)
    shuttingDown.addEventListener('abort', () => {
      this.stopped = true
      this.views.wakeAll()
    })
  }
}

interface Poll {
  readonly requester: Requester
  readonly view: UserView
  readonly filter: Filter
  readonly request: SyncRequest
  readonly signals: SyncSignals
}

interface Answer {
  readonly body: string
  readonly isEmpty: boolean
  readonly next: SyncToken
}

/** The body; when it was given is what the next answers are spaced by. */
function answered({ requester, view }: Poll, { body }: Answer): string {
  view.answeredAt.set(requester.device, performance.now())
  return body
}

const none: ReadonlySet<RoomNumber> = new Set()

const ephemeralOf = ({ process, count }: SyncToken): Pick<SyncToken, 'process' | 'count'> => ({ process, count })

const metIn = ({ rooms }: Plan): RoomNumber[] =>
  rooms.filter(({ isNew, section }) => isNew && section === 'join').map(({ room }) => room)

function parsed(text: string): Filter {
  try {
    return parseFilter(parseJson(text).value)
  } catch (cause) {
    if (cause instanceof FilterError || cause instanceof JsonError) throw invalidParam(`filter: ${cause.message}`)
    throw cause
  }
}
