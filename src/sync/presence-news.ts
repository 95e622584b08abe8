/**
 * Who hears of whose presence: users who share a room. Of each user whose presence is known here the rooms are known too,
 * kept up by the log. What changed is put to the views of those who may see it, so that a sync looks at its own news only;
 * who was away for longer is told by a look at all who are known.
 */
import { eventMatches, matchesNothing, type EventFilter } from '../protocol/filter.js'
import type { RoomNumber } from '../protocol/numbers.js'
import type { SyncToken } from '../protocol/sync-token.js'
import { someAtOnce } from '../some-at-once.js'
import type { Fact } from '../store/facts.js'
import type { EphemeralOrder } from './ephemeral-order.js'
import { meet, type JoinedRooms } from './joined-rooms.js'
import { presenceContent, type Presences } from './presence.js'
import type { PresenceChange } from './presence-inbox.js'
import type { UserView } from './user-view.js'

/** A change of which more hear is not worth waking them all: they have it with what comes next, or when their time is up. */
const MOST_WOKEN = 100
/** Users that are told of at once to who was away, those that changed last. */
const MOST_TOLD = 1_000
/** Users whose rooms are looked up at a time. */
const AT_ONCE = 4

export interface Viewers {
  in(room: RoomNumber): ReadonlySet<UserView> | undefined
  all(): Iterable<UserView>
  readonly size: number
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
    if (token.count < view.presence.from) return this.among(view, (_userId, { count }) => count > token.count)
    const changed = view.presence.since(token.count)
    if (met.length === 0) return changed
    const isMet = (userId: string, { rooms }: Seen) =>
      this.presences.isThere(userId) && met.some((room) => rooms.has(room))
    return [...new Set([...this.among(view, isMet), ...changed])]
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
    const audience = this.audienceIn(rooms)
    for (const view of audience) {
      if (view.userId === change.userId) continue
      view.presence.put(change)
      if (audience.size <= MOST_WOKEN) woken.add(view)
      else view.note()
    }
  }

  /** Looked for from the side that costs less: the rooms of the user, or all who sync. */
  private audienceIn(rooms: ReadonlySet<RoomNumber>): ReadonlySet<UserView> {
    let steps = 0
    const views: ReadonlySet<UserView>[] = []
    for (const room of rooms) {
      const inRoom = this.viewers.in(room)
      if (inRoom === undefined) continue
      views.push(inRoom)
      steps += inRoom.size
    }
    if (views.length === 1) return views[0]!
    const audience = new Set<UserView>()
    if (steps <= 4 * this.viewers.size) {
      for (const inRoom of views) for (const view of inRoom) audience.add(view)
    } else {
      for (const view of this.viewers.all()) if (meet(rooms, view.joined)) audience.add(view)
    }
    return audience
  }
}

export const noNews: News = { texts: [], isNews: false }
