import { DEFAULT_LIMIT, eventMatches, matchesNothing } from '../protocol/filter.js'
import type { Position } from '../protocol/numbers.js'
import { userReader, type VisibleEvent } from '../room/gate.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom, Reading } from './reading.js'

export interface Timeline {
  /** In the order of the room. */
  readonly events: readonly VisibleEvent[]
  /** Something that the client would see happened before the first of them, since it last asked. */
  readonly limited: boolean
}

/** Where a timeline's events come from: the newest are at hand, older ones of the window can be fetched. */
export interface TimelineSource {
  readonly events: readonly StoredEvent[]
  readonly hasMore: boolean
  readonly after: Position
}

/** Older pages that are looked through for events that pass the filter, and their size. */
const MAX_PAGES = 5
const PAGE = 100

export const timelineLimit = ({ filter }: Reading): number => filter.room.timeline.limit ?? DEFAULT_LIMIT

/**
 * The newest events of a window that the filter and the gate let through. A timeline does not go over a gap: what lies in
 * it would never be asked for. It does not go over history that was fetched later either, which fills one.
 */
export async function readTimeline(reading: Reading, name: KnownRoom, source: TimelineSource): Promise<Timeline> {
  const { timeline: filter } = reading.filter.room
  if (matchesNothing(filter)) return { events: [], limited: false }
  const limit = timelineLimit(reading)
  let found: VisibleEvent[] = []
  let { events: page, isCut } = afterGap(source.events)
  let hasMore = source.hasMore || isCut
  for (let pages = 0; ; pages++) {
    found = [...(await newestReadable(reading, name, page, limit + 1 - found.length)), ...found]
    if (found.length > limit || !hasMore || isCut || pages === MAX_PAGES || page.length === 0) break
    const older = await olderPage(reading, name, page[0]!, source.after)
    hasMore = older.length === PAGE
    ;({ events: page, isCut } = afterGap(older))
    hasMore ||= isCut
  }
  return { events: found.slice(-limit), limited: found.length > limit || hasMore }
}

/** At least the `wanted` newest, if there are so many, judged in small portions from the end. */
async function newestReadable(
  { gate, requester, filter, view }: Reading,
  name: KnownRoom,
  events: readonly StoredEvent[],
  wanted: number,
): Promise<VisibleEvent[]> {
  const candidates = events.filter(
    ({ event }) =>
      eventMatches(filter.room.timeline, event) && (event.stateKey !== undefined || !view.ignored.has(event.sender)),
  )
  let readable: VisibleEvent[] = []
  let end = candidates.length
  while (readable.length < wanted && end > 0) {
    const from = Math.max(0, end - wanted)
    readable = [...(await gate.readable(name, userReader(requester), candidates.slice(from, end))), ...readable]
    end = from
  }
  return readable
}

async function olderPage({ stores }: Reading, name: KnownRoom, before: StoredEvent, after: Position) {
  const events = await stores.events.page(name.room, {
    backwards: true,
    from: { anchor: before.anchor!, minor: before.minor },
    to: { anchor: after, minor: 0 },
    limit: PAGE,
  })
  return events.reverse()
}

/** What comes after the last gap in events that stand in the order of the room. */
function afterGap(events: readonly StoredEvent[]): { events: readonly StoredEvent[]; isCut: boolean } {
  const last = events.findLastIndex((event) => event.minor !== 0 || followsGap(event))
  if (last === -1) return { events, isCut: false }
  return { events: events.slice(events[last]!.minor === 0 ? last : last + 1), isCut: true }
}

/** Some of its prev events were not held when it came. */
const followsGap = ({ event, prevEvents }: StoredEvent): boolean =>
  event.prevEvents.length > prevEvents.length && new Set(event.prevEvents).size > prevEvents.length
