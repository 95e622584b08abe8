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
  let { events: page, hasMore } = source
  for (let pages = 0; ; pages++) {
    const { readable, isCut } = await newestReadable(reading, name, page, limit + 1 - found.length)
    found = [...readable, ...found]
    hasMore ||= isCut
    if (found.length > limit || !hasMore || isCut || pages === MAX_PAGES || page.length === 0) break
    page = await olderPage(reading, name, page[0]!, source.after)
    hasMore = page.length === PAGE
  }
  return { events: found.slice(-limit), limited: found.length > limit || hasMore }
}

/**
 * At least the `wanted` newest, if there are so many after the last gap, judged in small portions from the end. A busy
 * room has many times as many: those are not looked at. `isCut`: there is a gap before them.
 */
async function newestReadable(
  { gate, requester, filter, view }: Reading,
  name: KnownRoom,
  events: readonly StoredEvent[],
  wanted: number,
): Promise<{ readable: readonly VisibleEvent[]; isCut: boolean }> {
  const isWanted = ({ event }: StoredEvent) =>
    eventMatches(filter.room.timeline, event) && (event.stateKey !== undefined || !view.ignored.has(event.sender))
  let readable: VisibleEvent[] = []
  let isCut = false
  let end = events.length
  while (readable.length < wanted && end > 0 && !isCut) {
    const portion: StoredEvent[] = []
    while (portion.length < wanted && end > 0 && !isCut) {
      const event = events[--end]!
      isCut = isHistory(event) || followsGap(event)
      if (!isHistory(event) && isWanted(event)) portion.push(event)
    }
    readable = [...(await gate.readable(name, userReader(requester), portion.reverse())), ...readable]
  }
  return { readable, isCut }
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

/** It was fetched later than what comes after it. */
const isHistory = ({ minor }: StoredEvent): boolean => minor !== 0

/** Some of its prev events were not held when it came. */
const followsGap = ({ event, prevEvents }: StoredEvent): boolean =>
  event.prevEvents.length > prevEvents.length && new Set(event.prevEvents).size > prevEvents.length
