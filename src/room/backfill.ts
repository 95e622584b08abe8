/**
 * History that other servers hold. Who reads a room backwards comes to gaps: events whose prev events we do not have.
 * What lies in a gap is fetched then, before the page is read on, and stands before the event that named it.
 */
import type { EventNumber } from '../protocol/numbers.js'
import type { RoomOrder } from '../store/events.js'
import { eventsAfterGaps, gapAfter } from '../store/gaps.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { RoomTime } from './inbound/peers.js'
import type { KnownRoom } from './known-room.js'
import { lastBefore, type RoomPlace } from './pagination-token.js'

export interface Backfill {
  /**
   * Fetches about `limit` events of the history before the event with this order, which stands after a gap, and stores
   * them. Resolves also when nobody answered: nothing more is there then.
   */
  before(room: KnownRoom, order: RoomOrder, limit: number): Promise<void>

  /**
   * Fetches the event that others hold in that gap and that is the closest to a time, if it is closer than one at `than`,
   * and stores it in the middle of the gap. Resolves also when there is none.
   */
  closest(room: KnownRoom, order: RoomOrder, time: RoomTime, than: number | undefined): Promise<void>
}

/** One page asks other servers so many times, whatever the graph they gave us looks like. */
const MAX_FILLED = 3

/** The gaps of one page that is read backwards. Each is filled once: what nobody has does not end the page. */
export class Gaps {
  private readonly filled = new Set<EventNumber>()
  private next: RoomOrder | undefined
  private asked = 0

  constructor(
    private readonly stores: Stores,
    private readonly backfill: Pick<Backfill, 'before'> | undefined,
    private readonly name: KnownRoom,
    private readonly limit: number,
  ) {}

  /** Fills the gap that is open at a place, if there is one. False when there was nothing to fetch. */
  async fillAt(place: RoomPlace): Promise<boolean> {
    const { backfill, stores, name } = this
    if (backfill === undefined || this.asked === MAX_FILLED) return false
    const gap = this.next ?? (this.asked === 0 ? await gapAfter(stores.db, name.room, lastBefore(place)) : undefined)
    this.next = undefined
    if (gap === undefined) return false
    this.asked++
    await backfill.before(name, gap, this.limit)
    return true
  }

  /** The events, newest first, as far as the first gap that is to be filled; then `fillAt` fills that. */
  async cut(events: readonly StoredEvent[]): Promise<{ page: readonly StoredEvent[]; isCut: boolean }> {
    if (this.backfill === undefined || this.asked === MAX_FILLED || events.length === 0) return whole(events)
    const numbers = events.map(({ number }) => number)
    const after = await eventsAfterGaps(this.stores.db, this.name.room, numbers)
    const end = events.findIndex(({ number }) => after.has(number) && !this.filled.has(number))
    if (end === -1) return whole(events)
    const { number, anchor, minor } = events[end]!
    this.filled.add(number)
    this.next = { anchor: anchor!, minor }
    return { page: events.slice(0, end + 1), isCut: true }
  }
}

const whole = (page: readonly StoredEvent[]) => ({ page, isCut: false })
