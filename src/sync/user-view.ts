/**
 * What this process keeps of a user who syncs: their rooms, what is unread in them, and the polls that wait. It follows
 * the log fact by fact (views.ts), so that a poll which is woken reads memory and nothing else.
 *
 * A view says what is true at `log.published`. Work that awaits takes what it needs of it at once, before it waits.
 */
import { blocksInvites, INVITE_PERMISSION } from '../protocol/invite-permission.js'
import type { DeviceNumber, EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import type { AccountDataFact, EventFact, Membership, MembershipFact, ReceiptFact } from '../store/facts.js'
import { IGNORED_USERS, ignoredIn, noUsers } from '../store/ignored-users.js'
import type { MembershipInterval } from '../store/memberships.js'
import type { StoredEvent } from '../store/stored-event.js'
import { markAt } from '../store/unread.js'
import { PresenceInbox } from './presence-inbox.js'
import { SentMembers } from './sent-members.js'
import { UnreadCounts } from './unread-counts.js'
import type { Waiter } from './waiter.js'

export interface ViewedRoom {
  membership: Membership
  /** Since when; a new profile begins nothing. */
  position: Position
  event: EventNumber | undefined
  sender: string
  /** Memberships that ended, oldest first; complete from `UserView.historyFrom` on. */
  past: MembershipInterval[]
  /** undefined: to be read before it is shown. */
  unread: UnreadCounts | undefined
}

interface Touch {
  readonly room: RoomNumber
  position: Position
}

/** Touches that are kept: a client that was away for more looks at all its rooms. */
const MAX_TOUCHES = 512
/** Changes of others' presence that are kept. */
const MAX_PRESENCES = 500
/** A user who comes and goes all the time does not make the view grow. */
const MAX_PAST = 50

export class UserView {
  readonly rooms = new Map<RoomNumber, ViewedRoom>()
  /** The rooms with membership `join`. */
  readonly joined = new Set<RoomNumber>()
  /** Polls that wait. */
  readonly waiters = new Set<Waiter>()
  /** Requests that use the view at this moment: it is not dropped meanwhile. */
  holders = 0
  ignored: ReadonlySet<string> = noUsers
  /** They want no invites, and are not shown those that came all the same. */
  blocksInvites = false
  /** Past memberships that ended after this position are here. */
  historyFrom: Position
  /** Rooms in the order in which something last happened in them, as far back as `touchedFrom`. */
  private touches: Touch[] = []
  private touchedFrom: Position
  /** When the devices were last answered, to space the answers of a busy room. */
  readonly answeredAt = new Map<DeviceNumber, number>()
  /** Messages to devices: deleted up to one position, the newest at another. A device that is absent is not known. */
  readonly inboxes = new Map<DeviceNumber, { deleted: Position; newest: Position }>()
  /** Members that lazy-loading clients have been sent. */
  readonly sentMembers = new SentMembers()
  readonly presence: PresenceInbox

  constructor(
    readonly userId: string,
    position: Position,
    /** The number of the newest ephemeral change. */
    count: number,
  ) {
    this.presence = new PresenceInbox(count, MAX_PRESENCES)
    this.historyFrom = position
    this.touchedFrom = position
  }

  /** An estimate of what it costs the heap, in bytes. */
  get size(): number {
    return 2_000 + this.rooms.size * 400 + this.sentMembers.size * 100
  }

  /** The membership in force at a position, which is not before `historyFrom`. */
  membershipAt(room: ViewedRoom, position: Position): Membership | undefined {
    if (room.position <= position) return room.membership
    return room.past.find((interval) => interval.from <= position && interval.to > position)?.membership
  }

  /** Rooms in which something may have happened after a position. */
  touchedSince(position: Position): Iterable<RoomNumber> {
    if (position < this.touchedFrom) return this.rooms.keys()
    const touched = new Set<RoomNumber>()
    for (let i = this.touches.length - 1; i >= 0; i--) {
      const touch = this.touches[i]!
      if (touch.position <= position) break
      touched.add(touch.room)
    }
    return touched
  }

  wake(): void {
    for (const waiter of this.waiters) waiter.wake('news')
  }

  // What happened. Facts may come twice when the view has just been read; the second time changes nothing.

  onEvent({ position, room, event }: EventFact): void {
    this.touch(room, position)
    const unread = this.rooms.get(room)?.unread
    const isOwn = event.event.sender === this.userId
    unread?.onEvent(event, isOwn || this.ignored.has(event.event.sender))
    if (isOwn) unread?.onRead(markAt(event))
  }

  onRedaction(room: RoomNumber, isRedacted: (event: EventNumber) => boolean): void {
    this.rooms.get(room)?.unread?.onRedaction(isRedacted)
  }

  /** `event`: what the receipt points to, when it is at hand. */
  onReceipt(fact: ReceiptFact, event: StoredEvent | undefined): void {
    this.touch(fact.room, fact.position)
    if (fact.user !== this.userId || !countsAsRead(fact)) return
    const room = this.rooms.get(fact.room)
    if (event?.anchor !== undefined) room?.unread?.onRead({ ...markAt(event), thread: fact.threadId })
    else if (room !== undefined) room.unread = undefined
  }

  /** `event`: the one that highlights, when it is at hand. */
  onHighlight(number: RoomNumber, event: StoredEvent | undefined): void {
    const room = this.rooms.get(number)
    if (event !== undefined && this.ignored.has(event.event.sender)) return
    if (event !== undefined) room?.unread?.onHighlight(event)
    else if (room !== undefined) room.unread = undefined
  }

  /** `event`: the one that made the membership, when it is at hand. */
  onMembership(fact: MembershipFact, event: StoredEvent | undefined): void {
    const { room, position, membership, sender } = fact
    this.touch(room, position)
    const before = this.rooms.get(room)
    if (before !== undefined && before.position >= position) return
    const past = before === undefined ? [] : [...before.past, intervalOf(before, position)].slice(-MAX_PAST)
    const unread = membership === 'join' && event !== undefined ? UnreadCounts.from(event) : undefined
    this.rooms.set(room, { membership, position, event: fact.event, sender, past, unread })
  }

  onAccountData(fact: AccountDataFact): void {
    if (fact.room === 0 && fact.type === IGNORED_USERS) this.onIgnored(ignoredIn(fact.content))
    else if (fact.room === 0 && fact.type === INVITE_PERMISSION) this.blocksInvites = blocksInvites(fact.content)
    else if (fact.room !== 0) this.touch(fact.room, fact.position)
  }

  /** What they sent before counts no more, or counts again. */
  private onIgnored(ignored: ReadonlySet<string>): void {
    this.ignored = ignored
    for (const room of this.rooms.values()) room.unread = undefined
  }

  onToDevice(device: DeviceNumber, position: Position): void {
    const inbox = this.inboxes.get(device)
    if (inbox !== undefined) inbox.newest = position
  }

  onStateChange(room: RoomNumber, position: Position): void {
    this.touch(room, position)
  }

  /** Whoever asks for what happened before looks at all rooms. */
  restartTouches(position: Position): void {
    this.touches = []
    this.touchedFrom = position
  }

  private touch(room: RoomNumber, position: Position): void {
    const last = this.touches.at(-1)
    if (last?.room === room) {
      last.position = position
      return
    }
    this.touches.push({ room, position })
    if (this.touches.length <= MAX_TOUCHES) return
    const dropped = this.touches.splice(0, MAX_TOUCHES / 2)
    this.touchedFrom = dropped.at(-1)!.position
  }
}

const countsAsRead = ({ type }: ReceiptFact): boolean => type === 'm.read' || type === 'm.read.private'

const intervalOf = (room: ViewedRoom, to: Position): MembershipInterval => ({
  membership: room.membership,
  from: room.position,
  to,
})
