/**
 * Who hears of whose presence: users who share a room. Of each user whose presence is known here the rooms are known too,
 * kept up by the log. What changed is put to the views of those who may see it, so that a sync looks at its own news only.
 * In a room where many sync it is put to the room, and wakes nobody: they have it with what comes next, or when their time
 * is up. Who was away for longer is told by a look at all who are known.
 */
import { eventMatches, matchesNothing, type EventFilter } from '../protocol/filter.js'
import type { RoomNumber } from '../protocol/numbers.js'
import type { SyncToken } from '../protocol/sync-token.js'
import { someAtOnce } from '../some-at-once.js'
import type { Fact } from '../store/facts.js'
import type { EphemeralOrder } from './ephemeral-order.js'
import { meet, type JoinedRooms } from './joined-rooms.js'
import { presenceContent, type Presences } from './presence.js'
import { PresenceInbox, type PresenceChange } from './presence-inbox.js'
import type { UserView } from './user-view.js'

/** So many sync in a room, and a change is not put to each of them. */
const MANY = 100
/** Changes in such a room that are kept. */
const MAX_CHANGES = 5_000
/** Users that are told of at once to who was away, those that changed last. */
const MOST_TOLD = 1_000
/** Users whose rooms are looked up at a time. */
const AT_ONCE = 4

/** Those who sync here and are joined to a room. */
export interface Viewers {
  in(room: RoomNumber): ReadonlySet<UserView> | undefined
}

interface Seen {
  readonly rooms: Set<RoomNumber>
  /** The number of the last change. */
  count: number
}

export interface News {
  /** Events of `m.presence`. */
  readonly texts: readonly string[]
  /** Whether the client would want to be woken for it. */
  readonly isNews: boolean
}

export class PresenceNews {
  /** Users by when their presence changed, the last at the end. */
  private readonly seen = new Map<string, Seen>()
  /** Of rooms in which many sync. */
  private readonly large = new Map<RoomNumber, PresenceInbox>()

  constructor(
    readonly presences: Presences,
    private readonly order: EphemeralOrder,
    private readonly joined: JoinedRooms,
    private readonly viewers: Viewers,
  ) {
    presences.subscribe((userIds) => void this.tell(userIds))
    presences.onForgotten((userId) => this.seen.delete(userId))
  }

  /** Facts in the order of the log; `origin` as the log says it. Whoever says or reads something here is there. */
  follow(facts: readonly Fact[], origin: 'here' | 'elsewhere'): void {
    for (const fact of facts) {
      if (fact.kind === 'membership') this.onMembership(fact)
      else if (origin === 'here' && fact.kind === 'event') this.presences.active(fact.event.event.sender)
      else if (origin === 'here' && fact.kind === 'receipt') this.presences.active(fact.user)
    }
  }

  /** Whether there is something for which nobody was woken. */
  hasMore(view: UserView, token: Pick<SyncToken, 'process' | 'count'>): boolean {
    return this.isOurs(token) && this.largeOf(view, token.count).length > 0
  }

  /**
   * What a client has to be told. `met`: rooms that are new to it. A token of another process, or of before a restart, says
   * nothing: everybody is told, but not at once, or a client that is sent from process to process would never wait.
   */
  of(
    view: UserView,
    filter: EventFilter,
    token: Pick<SyncToken, 'process' | 'count'> | undefined,
    met: readonly RoomNumber[],
  ): News {
    if (matchesNothing(filter)) return noNews
    const userIds = this.usersFor(view, token, met).filter((userId) => !view.ignored.has(userId))
    const shown = userIds.filter((sender) => eventMatches(filter, { type: 'm.presence', sender, content: {} }))
    const texts = shown.slice(-(filter.limit ?? MOST_TOLD)).map((userId) => this.text(userId))
    return { texts, isNews: token === undefined || this.isOurs(token) }
  }

  private usersFor(
    view: UserView,
    token: Pick<SyncToken, 'process' | 'count'> | undefined,
    met: readonly RoomNumber[],
  ): readonly string[] {
    if (token === undefined) return this.among(view, (userId) => this.presences.isThere(userId))
    if (!this.isOurs(token)) return this.among(view, () => true)
    const inboxes = [view.presence, ...this.largeOf(view, token.count)]
    if (inboxes.some(({ from }) => token.count < from)) {
      return this.among(view, (_userId, { count }) => count > token.count)
    }
    const changed = inboxes.length === 1 ? inboxes[0]!.since(token.count) : this.allSince(inboxes, token.count, view)
    if (met.length === 0) return changed
    const isMet = (userId: string, { rooms }: Seen) =>
      this.presences.isThere(userId) && met.some((room) => rooms.has(room))
    return [...new Set([...this.among(view, isMet), ...changed])]
  }

  /** Large rooms of the user in which something changed after a number. */
  private largeOf(view: UserView, count: number): PresenceInbox[] {
    const found: PresenceInbox[] = []
    for (const [room, inbox] of this.large) if (inbox.newest > count && view.joined.has(room)) found.push(inbox)
    return found
  }

  private allSince(inboxes: readonly PresenceInbox[], count: number, { userId }: UserView): string[] {
    const users = new Set(inboxes.flatMap((inbox) => inbox.since(count)))
    users.delete(userId)
    return [...users]
  }

  private isOurs({ process }: Pick<SyncToken, 'process'>): boolean {
    return process === this.order.process
  }

  /** Those who share a room with the user. */
  private among(view: UserView, isWanted: (userId: string, seen: Seen) => boolean): string[] {
    const found: string[] = []
    for (const [userId, seen] of this.seen) {
      if (userId !== view.userId && isWanted(userId, seen) && meet(seen.rooms, view.joined)) found.push(userId)
    }
    return found
  }

  private text(userId: string): string {
    const content = presenceContent(this.presences.of(userId), this.presences.now())
    return JSON.stringify({ type: 'm.presence', sender: userId, content })
  }

  private onMembership({ user, room, membership }: Extract<Fact, { kind: 'membership' }>): void {
    const seen = this.seen.get(user)
    if (seen === undefined) return
    if (membership !== 'join') return void seen.rooms.delete(room)
    if (seen.rooms.has(room)) return
    seen.rooms.add(room)
    this.presences.tellAgain(user)
  }

  private async tell(userIds: readonly string[]): Promise<void> {
    this.spread(userIds.filter((userId) => this.seen.has(userId)))
    const others = userIds.filter((userId) => !this.seen.has(userId))
    const found: string[] = []
    // Who is not found now, with the database away, is told of with their next change.
    await someAtOnce(others, AT_ONCE, async (userId) => {
      const rooms = new Set(await this.joined.of(userId))
      if (!this.presences.isKnown(userId)) return
      this.seen.set(userId, { rooms, count: 0 })
      found.push(userId)
    }).catch(() => undefined)
    this.spread(found)
  }

  /** Several users at once wake a poll once. */
  private spread(userIds: readonly string[]): void {
    const woken = new Set<UserView>()
    for (const userId of userIds) {
      const seen = this.seen.get(userId)!
      const change = { userId, count: this.order.next() }
      seen.count = change.count
      this.seen.delete(userId)
      this.seen.set(userId, seen)
      this.put(change, seen.rooms, woken)
    }
    for (const view of woken) view.wake()
  }

  private put(change: PresenceChange, rooms: ReadonlySet<RoomNumber>, woken: Set<UserView>): void {
    const audience = new Set<UserView>()
    for (const room of rooms) {
      const views = this.viewers.in(room)
      const inbox = this.largeRoom(room, views?.size ?? 0)
      if (inbox !== undefined) inbox.put(change)
      else for (const view of views ?? []) if (view.userId !== change.userId) audience.add(view)
    }
    for (const view of audience) {
      view.presence.put(change)
      woken.add(view)
    }
  }

  /** Once many synced in a room, it stays one of these until nobody does. */
  private largeRoom(room: RoomNumber, size: number): PresenceInbox | undefined {
    let inbox = this.large.get(room)
    if (inbox === undefined && size > MANY) this.large.set(room, (inbox = new PresenceInbox(0, MAX_CHANGES)))
    if (inbox === undefined || size > 0) return inbox
    this.large.delete(room)
    return undefined
  }
}

export const noNews: News = { texts: [], isNews: false }
