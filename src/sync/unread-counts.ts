/**
 * What one user has not read of one room, kept up as facts arrive: the growth of the room's running counts since the
 * user's mark (src/store/unread.ts), and the events that highlight for this user alone.
 */
import type { ReadMark, UnreadRow } from '../store/unread.js'
import type { StoredEvent } from '../store/stored-event.js'

export class UnreadCounts {
  private notifyCount: number
  private highlightCount: number
  private mark: ReadMark
  private highlights: readonly number[]

  constructor(row: Omit<UnreadRow, 'room'>) {
    this.notifyCount = row.notifyCount
    this.highlightCount = row.highlightCount
    this.mark = row.mark
    this.highlights = row.highlights
  }

  static from(event: StoredEvent): UnreadCounts {
    const { notifyCount, highlightCount } = event
    const mark = { anchor: event.anchor ?? 0, notifyCount, highlightCount }
    return new UnreadCounts({ notifyCount, highlightCount, mark, highlights: [] })
  }

  get unread(): { readonly notifications: number; readonly highlights: number } {
    const highlights = Math.max(0, this.highlightCount - this.mark.highlightCount) + this.highlights.length
    // An event may highlight for one member without notifying by the rules of all.
    return { highlights, notifications: Math.max(0, this.notifyCount - this.mark.notifyCount, highlights) }
  }

  /** Facts that were counted before change nothing. */
  onEvent({ notifyCount, highlightCount }: StoredEvent): void {
    this.notifyCount = Math.max(this.notifyCount, notifyCount)
    this.highlightCount = Math.max(this.highlightCount, highlightCount)
  }

  onHighlight(position: number): void {
    if (position > this.mark.anchor && !this.highlights.includes(position)) {
      this.highlights = [...this.highlights, position]
    }
  }

  /** A receipt behind the mark does not take it back. */
  onRead(mark: ReadMark): void {
    if (mark.anchor <= this.mark.anchor) return
    this.mark = mark
    if (this.highlights.length > 0) this.highlights = this.highlights.filter((position) => position > mark.anchor)
  }
}
