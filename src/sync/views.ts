/**
 * The views of users who sync, bounded by a share of the memory and never dropped while somebody uses them. They follow
 * the log by one subscription; an index from rooms to the views joined to them makes a fact cost its audience.
 */
import { blocksInvites, INVITE_PERMISSION } from '../protocol/invite-permission.js'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import { accountData } from '../store/account-data.js'
import type { Events } from '../store/events.js'
import type { Fact } from '../store/facts.js'
import { ignoredBy } from '../store/ignored-users.js'
import type { Log } from '../store/log.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import { membershipsAt, membershipsEnded } from '../store/user-rooms.js'
import { unreadOf } from '../store/unread.js'
import type { JoinedRooms } from './joined-rooms.js'
import type { RoomSummaries } from './room-summaries.js'
import type { Typing } from './typing.js'
import { UnreadCounts } from './unread-counts.js'
import { UserView } from './user-view.js'

export interface ViewsDeps {
  readonly stores: Stores
  readonly log: Log
  readonly typing: Typing
  readonly joined: JoinedRooms
  readonly summaries: RoomSummaries
}

export class Views {
  /** The least recently used first. */
  private readonly views = new Map<string, UserView>()
  private readonly loading = new Map<string, Promise<UserView>>()
  private readonly byRoom = new Map<RoomNumber, Set<UserView>>()
  private bytes = 0
  private readonly sizes = new WeakMap<UserView, number>()
  private readonly unsubscribe: () => void

  constructor(private readonly deps: ViewsDeps) {
    this.unsubscribe = deps.log.subscribe((facts) => this.follow(facts))
    deps.typing.subscribe((room) => this.wakeRoom(room))
  }

  close(): void {
    this.unsubscribe()
  }

  /** Those of users who are joined to the room. */
  in(room: RoomNumber): ReadonlySet<UserView> | undefined {
    return this.byRoom.get(room)
  }

  /** The view of a user, for the time the task takes. */
  async using<T>(userId: string, task: (view: UserView) => Promise<T>): Promise<T> {
    let view = await this.get(userId)
    // It may have been dropped again before it was held, and no longer follows the log.
    while (this.views.get(userId) !== view) view = await this.get(userId)
    view.holders++
    try {
      return await task(view)
    } finally {
      view.holders--
      this.measure(view)
      this.shrink()
    }
  }

  private async get(userId: string): Promise<UserView> {
    const known = this.views.get(userId)
    if (known !== undefined) {
      this.views.delete(userId)
      this.views.set(userId, known)
      return known
    }
    let loading = this.loading.get(userId)
    if (loading === undefined) {
      loading = this.load(userId).finally(() => this.loading.delete(userId))
      this.loading.set(userId, loading)
    }
    return loading
  }

  /** Reads the user as of a position, and takes what came after it from the log. */
  private async load(userId: string): Promise<UserView> {
    const { stores, log, typing } = this.deps
    for (;;) {
      const position = log.published
      const view = new UserView(userId, position, typing.order.count)
      const [memberships, unread, ignored, invitePermission] = await Promise.all([
        membershipsAt(stores.db, userId, position),
        unreadOf(stores, userId),
        ignoredBy(stores.db, userId),
        accountData(stores.db, userId, 0, INVITE_PERMISSION),
      ])
      if (log.horizon > position) continue
      view.ignored = ignored
      view.blocksInvites = blocksInvites(invitePermission)
      for (const { room, membership, position: since, event, sender } of memberships) {
        view.rooms.set(room, { membership, position: since, event, sender, past: [], unread: undefined })
      }
      for (const row of unread) {
        const room = view.rooms.get(row.room)
        // Few users ignore others: theirs are read once more, when it is known whom, and all others' at once.
        if (room?.membership === 'join' && ignored.size === 0) room.unread = new UnreadCounts(row)
      }
      this.catchUp(view, position)
      this.views.set(userId, view)
      this.measure(view)
      return view
    }
  }

  /** Memberships first: they say in which rooms the rest counts. */
  private catchUp(view: UserView, position: Position): void {
    const { log } = this.deps
    for (const fact of log.ofUser(view.userId, position)) this.apply(view, fact, undefined)
    for (const [room, { membership }] of view.rooms) {
      if (membership !== 'join') continue
      this.index(view, room)
      for (const fact of log.ofRoom(room, position)) this.apply(view, fact, undefined)
    }
    // What happened in other rooms until now was not heard: they are looked at one by one once.
    view.restartTouches(log.published)
  }

  /** Past memberships that ended after a position, which may be older than the view. */
  async withHistory(view: UserView, from: Position): Promise<void> {
    const { historyFrom } = view
    if (from >= historyFrom) return
    const ended = await membershipsEnded(this.deps.stores.db, view.userId, from, historyFrom)
    if (view.historyFrom !== historyFrom) return this.withHistory(view, from)
    for (const [number, intervals] of ended) {
      const room = view.rooms.get(number)
      if (room !== undefined) room.past = [...intervals, ...room.past]
    }
    view.historyFrom = from
  }

  /** Counts that a fact made uncertain are read again. */
  async withUnread(view: UserView, rooms: readonly RoomNumber[]): Promise<void> {
    const unknown = rooms.filter((room) => {
      const viewed = view.rooms.get(room)
      return viewed?.membership === 'join' && viewed.unread === undefined
    })
    if (unknown.length === 0) return
    const { ignored } = view
    const unread = await unreadOf(this.deps.stores, view.userId, { rooms: unknown, ignored })
    if (view.ignored !== ignored) return this.withUnread(view, rooms)
    for (const row of unread) {
      const room = view.rooms.get(row.room)
      if (room?.membership === 'join') room.unread ??= new UnreadCounts(row)
    }
  }

  // Following the log

  /** Several facts of one batch wake a poll once. */
  private follow(facts: readonly Fact[]): void {
    const woken = new Set<UserView>()
    let event: StoredEvent | undefined
    for (const fact of facts) {
      if (fact.kind === 'event') event = fact.event
      this.deps.joined.follow(fact)
      this.deps.summaries.follow(fact)
      this.deps.typing.follow(fact)
      for (const view of this.audience(fact)) {
        this.apply(view, fact, event)
        woken.add(view)
      }
      if (fact.kind === 'device-list') void this.wakeSharers(fact.user)
    }
    for (const view of woken) view.wake()
  }

  private audience(fact: Fact): Iterable<UserView> {
    if (fact.kind === 'device-list') return nobody
    if (fact.kind === 'event' || fact.kind === 'state-change' || isPublicReceipt(fact)) {
      return this.byRoom.get(fact.room) ?? nobody
    }
    const view = this.views.get(fact.user)
    return view === undefined ? nobody : [view]
  }

  /** `event`: the newest of the facts before, which made this one if they share a position. */
  private apply(view: UserView, fact: Fact, event: StoredEvent | undefined): void {
    const { events } = this.deps.stores
    switch (fact.kind) {
      case 'event':
        view.onEvent(fact)
        if (fact.event.event.redacts !== undefined) view.onRedaction(fact.room, (number) => events.isRedacted(number))
        return
      case 'state-change':
        return view.onStateChange(fact.room, fact.position)
      case 'receipt':
        return view.onReceipt(fact, events.known(fact.event))
      case 'highlight':
        return view.onHighlight(fact.room, causeOf(events, fact.event, event))
      case 'membership': {
        view.onMembership(fact, causeOf(events, fact.event, event))
        if (view.rooms.get(fact.room)?.membership === 'join') this.index(view, fact.room)
        else this.unindex(view, fact.room)
        return
      }
      case 'account-data':
        return view.onAccountData(fact)
      case 'to-device':
        return view.onToDevice(fact.device, fact.position)
      case 'device-list':
    }
  }

  private wakeRoom(room: RoomNumber): void {
    for (const view of this.byRoom.get(room) ?? nobody) view.wake()
  }

  private async wakeSharers(user: string): Promise<void> {
    this.views.get(user)?.wake()
    // A failure costs a poll its timeout: what changed is read from the log.
    const rooms = await this.deps.joined.of(user).catch(() => [])
    for (const room of rooms) this.wakeRoom(room)
  }

  wakeAll(): void {
    for (const view of this.views.values()) for (const waiter of view.waiters) waiter.wake('stop')
  }

  private index(view: UserView, room: RoomNumber): void {
    view.joined.add(room)
    const views = this.byRoom.get(room)
    if (views === undefined) this.byRoom.set(room, new Set([view]))
    else views.add(view)
  }

  private unindex(view: UserView, room: RoomNumber): void {
    view.joined.delete(room)
    const views = this.byRoom.get(room)
    views?.delete(view)
    if (views?.size === 0) this.byRoom.delete(room)
  }

  // Staying within bounds

  private measure(view: UserView): void {
    const { size } = view
    this.bytes += size - (this.sizes.get(view) ?? 0)
    this.sizes.set(view, size)
  }

  private shrink(): void {
    if (this.bytes <= this.deps.stores.memory.viewBytes) return
    for (const view of this.views.values()) {
      if (view.holders > 0) continue
      this.views.delete(view.userId)
      for (const room of [...view.joined]) this.unindex(view, room)
      this.bytes -= this.sizes.get(view) ?? 0
      if (this.bytes <= this.deps.stores.memory.viewBytes) return
    }
  }
}

/** Events of the log are in memory while their facts are new; `event` is the newest of them. */
function causeOf(
  events: Events,
  number: EventNumber | undefined,
  event: StoredEvent | undefined,
): StoredEvent | undefined {
  if (number === undefined) return undefined
  return event?.number === number ? event : events.known(number)
}

const nobody: readonly UserView[] = []

const isPublicReceipt = (fact: Fact): fact is Extract<Fact, { kind: 'receipt' }> =>
  fact.kind === 'receipt' && fact.type !== 'm.read.private'
