/**
 * What one user has not read of one room, kept up as facts arrive: the growth of the room's running counts since the
 * user's mark (src/store/unread.ts), the notifying events in threads, which have marks of their own, those that notify
 * others only, and the events that highlight for this user alone.
 */
import {
  mainMark,
  markAt,
  roomMark,
  threadOf,
  type ReadMark,
  type ThreadMark,
  type UnreadRow,
  type UnreadThreadEvent,
} from '../store/unread.js'
import type { EventNumber, Position } from '../protocol/numbers.js'
import type { StoredEvent } from '../store/stored-event.js'

export interface Unread {
  readonly notifications: number
  readonly highlights: number
}

/** Beyond so many in one room the oldest are no longer told apart by thread. */
const MAX_THREAD_EVENTS = 1_000
/** Threads whose own marks are remembered. */
const MAX_THREADS = 1_000

export class UnreadCounts {
  private notifyCount: number
  private highlightCount: number
  /** Of the room with all its threads. */
  private room: ReadMark
  /** Of what is in no thread; not before `room`. */
  private main: ReadMark
  /** Anchors by thread, of marks after `room`. */
  private readonly threads = new Map<string, number>()
  /** Not read, oldest first. */
  private threadEvents: readonly UnreadThreadEvent[]
  private highlights: readonly UnreadThreadEvent[]

  constructor(row: Omit<UnreadRow, 'room'>) {
    this.notifyCount = row.notifyCount
    this.highlightCount = row.highlightCount
    this.room = roomMark(row.marks)
    this.main = mainMark(row.marks)
    this.threadEvents = row.threadEvents
    this.highlights = row.highlights
    for (const mark of row.marks) this.onRead(mark)
    this.forgetRead()
  }

  /** Of a user who joins by this event. */
  static from(event: StoredEvent): UnreadCounts {
    const { notifyCount, highlightCount } = event
    return new UnreadCounts({
      notifyCount,
      highlightCount,
      marks: [{ ...markAt(event), thread: '' }],
      threadEvents: [],
      highlights: [],
    })
  }

  /** Of the room as a whole. */
  get all(): Unread {
    const threads = this.threadCounts()
    let { notifications, highlights } = this.mainOnly
    for (const counts of threads.values()) {
      notifications += counts.notifications
      highlights += counts.highlights
    }
    return { notifications, highlights }
  }

  /** Of what is in no thread. */
  get mainOnly(): Unread {
    const apart = this.threadEvents.filter(({ anchor }) => anchor > this.main.anchor)
    const forOthers = apart.filter(({ isForOthers, highlightsAll }) => isForOthers === true && highlightsAll === true)
    const own = this.highlights.filter(({ thread, anchor }) => thread === 'main' && anchor > this.main.anchor).length
    const highlights = Math.max(0, this.highlightCount - this.main.highlightCount - forOthers.length) + own
    // An event may highlight for one member without notifying by the rules of all.
    const notifications = Math.max(0, this.notifyCount - this.main.notifyCount - apart.length, highlights)
    return { notifications, highlights }
  }

  /** Of threads in which something is unread. */
  threadCounts(): Map<string, Unread> {
    const counts = new Map<string, { notifications: number; highlights: number }>()
    const count = ({ thread, anchor, isForOthers }: UnreadThreadEvent, kind: keyof Unread) => {
      if (isForOthers === true || thread === 'main' || anchor <= this.readInThread(thread)) return
      let found = counts.get(thread)
      if (found === undefined) counts.set(thread, (found = { notifications: 0, highlights: 0 }))
      found[kind]++
    }
    for (const event of this.threadEvents) count(event, 'notifications')
    for (const event of this.highlights) count(event, 'highlights')
    for (const found of counts.values()) found.notifications = Math.max(found.notifications, found.highlights)
    return counts
  }

  /** Facts that were counted before change nothing. */
  onEvent(stored: StoredEvent, isForOthers: boolean): void {
    const { number, notifyCount, highlightCount, anchor = 0 as Position, event } = stored
    const thread = threadOf(event.content)
    if ((thread !== 'main' || isForOthers) && notifyCount > this.notifyCount) {
      const highlightsAll = highlightCount > this.highlightCount
      const unread = { event: number, thread, anchor, isForOthers, highlightsAll }
      this.threadEvents = [...this.threadEvents, unread].slice(-MAX_THREAD_EVENTS)
    }
    this.notifyCount = Math.max(this.notifyCount, notifyCount)
    this.highlightCount = Math.max(this.highlightCount, highlightCount)
  }

  onHighlight(event: StoredEvent): void {
    const { thread, anchor } = markAt(event)
    if (!this.highlights.some((highlight) => highlight.anchor === anchor)) {
      this.highlights = [...this.highlights, { event: event.number, thread, anchor }].slice(-MAX_THREAD_EVENTS)
      this.forgetRead()
    }
  }

  /** What is left of a redacted event is in no thread, and mentions nobody. */
  onRedaction(isRedacted: (event: EventNumber) => boolean): void {
    this.threadEvents = this.threadEvents.filter(({ event, isForOthers }) => isForOthers === true || !isRedacted(event))
    this.highlights = this.highlights.filter(({ event }) => !isRedacted(event))
  }

  /** A mark behind another does not take it back. */
  onRead({ thread, ...mark }: ThreadMark): void {
    if (thread === '' && mark.anchor > this.room.anchor) this.room = mark
    if ((thread === '' || thread === 'main') && mark.anchor > this.main.anchor) this.main = mark
    if (thread !== '' && thread !== 'main' && mark.anchor > this.readInThread(thread)) {
      if (this.threads.size < MAX_THREADS) this.threads.set(thread, mark.anchor)
    }
    this.forgetRead()
  }

  private readInThread(thread: string): number {
    return Math.max(this.room.anchor, this.threads.get(thread) ?? 0)
  }

  private forgetRead(): void {
    const { anchor } = this.room
    const isRead = (event: UnreadThreadEvent) => event.anchor <= (event.thread === 'main' ? this.main.anchor : anchor)
    if (this.threadEvents.some(isRead)) this.threadEvents = this.threadEvents.filter((event) => !isRead(event))
    if (this.highlights.some(isRead)) this.highlights = this.highlights.filter((event) => !isRead(event))
    for (const [thread, read] of this.threads) if (read <= anchor) this.threads.delete(thread)
  }
}
