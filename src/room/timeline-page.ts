/** Pages of a room's timeline, of what their reader may see and asked for. */
import { eventMatches, type RoomEventFilter } from '../protocol/filter.js'
import type { StateReference } from '../protocol/numbers.js'
import { ignoredBy, noUsers } from '../store/ignored-users.js'
import { stateEventsAt } from '../store/state-events.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import { Gaps, type Backfill } from './backfill.js'
import type { Gate, Reader, VisibleEvent } from './gate.js'
import type { KnownRoom } from './known-room.js'
import { afterEvent, beforeEvent, firstAfter, lastBefore, type RoomPlace } from './pagination-token.js'

export interface PageRequest {
  readonly backwards: boolean
  readonly from: RoomPlace
  readonly to?: RoomPlace
  readonly limit: number
  readonly filter: RoomEventFilter
}

export interface TimelinePage {
  /** Newest first when it was read backwards. */
  readonly events: readonly VisibleEvent[]
  /** Where the next page begins; undefined when nothing is left. */
  readonly end: RoomPlace | undefined
}

/** So many events are looked at for one page. A page that is not filled then still says where to go on. */
const MAX_LOOKED_AT = 2_000
const MAX_AT_A_TIME = 500

export interface PageDeps {
  readonly stores: Stores
  readonly gate: Gate
  /** Without it gaps are read over. */
  readonly backfill?: Pick<Backfill, 'before'> | undefined
}

export async function readPage(
  { stores, gate, backfill }: PageDeps,
  name: KnownRoom,
  reader: Reader,
  { backwards, from, to, limit, filter }: PageRequest,
): Promise<TimelinePage> {
  const events: VisibleEvent[] = []
  const ignored = reader.kind === 'server' ? noUsers : await ignoredBy(stores.db, reader.userId)
  const isWanted = ({ event }: StoredEvent) =>
    eventMatches(filter, event) && (event.stateKey !== undefined || !ignored.has(event.sender))
  const gaps = new Gaps(stores, backwards ? backfill : undefined, name, limit)
  let at = from
  for (let lookedAt = 0; ;) {
    const wasFilled = await gaps.fillAt(at)
    // One more than is wanted tells whether anything is left.
    const asked = lookedAt === 0 ? limit + 1 : Math.min(MAX_AT_A_TIME, 2 * (limit + 1))
    const bounds = { from: bound(backwards, at), to: to && bound(!backwards, to) }
    const found = await stores.events.page(name.room, { backwards, ...bounds, limit: asked })
    const { page, isCut } = await gaps.cut(found)
    // What is asked for is looked at first, it costs less.
    const shown = new Set<StoredEvent>(await gate.readable(name, reader, page.filter(isWanted)))
    for (const event of page) {
      if (events.length === limit) return { events, end: at }
      at = backwards ? beforeEvent(event) : afterEvent(event)
      if (shown.has(event)) events.push(event as VisibleEvent)
    }
    if (isCut && events.length === limit) return { events, end: at }
    // What nobody had just now, somebody may have the next time. A page of nothing would be asked for again at once.
    if (wasFilled && found.length === 0 && events.length > 0) return { events, end: at }
    if (!isCut && found.length < asked) return { events, end: undefined }
    lookedAt += page.length
    if (lookedAt >= MAX_LOOKED_AT) return { events, end: at }
  }
}

const bound = (isAbove: boolean, place: RoomPlace) => (isAbove ? firstAfter(place) : lastBefore(place))

/** The member events of those who sent these, in the state after one of them. */
export async function sendersOf(
  { stores, gate }: { readonly stores: Stores; readonly gate: Gate },
  name: KnownRoom,
  state: StateReference,
  events: readonly VisibleEvent[],
): Promise<VisibleEvent[]> {
  const senders = [...new Set(events.map(({ event }) => event.sender))]
  const keys = senders.map((sender) => ['m.room.member', sender] as const)
  return gate.inReadableState(await stateEventsAt(stores, name.room, state, keys))
}
