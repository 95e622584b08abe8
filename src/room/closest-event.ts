import type { EventNumber } from '../protocol/numbers.js'
import { eventsByTime } from '../store/events-by-time.js'
import type { RoomOrder } from '../store/events.js'
import { eventsAfterGaps, gapAfter } from '../store/gaps.js'
import type { Stores } from '../store/stores.js'
import type { Backfill } from './backfill.js'
import type { Gate, Reader, VisibleEvent } from './gate.js'
import type { RoomTime } from './inbound/peers.js'
import type { KnownRoom } from './known-room.js'

export interface ClosestEventDeps {
  readonly stores: Stores
  readonly gate: Gate
}

/** So many are looked at; in a room of whose history the reader may see little, the closest may be further away. */
const MOST = { atATime: 50, pages: 10 }

/**
 * As `closestEvent`; where history that is missing here may hold a closer one, other servers are asked, and what they have
 * is fetched. Where they have none the reader gets the one of ours.
 */
export async function closestEventAnywhere(
  deps: ClosestEventDeps & { readonly backfill?: Backfill | undefined },
  name: KnownRoom,
  reader: Reader,
  time: RoomTime,
): Promise<VisibleEvent | undefined> {
  const closest = await closestEvent(deps, name, reader, time)
  const gap = await gapTowards(deps.stores, name, time, closest)
  if (gap === undefined || deps.backfill === undefined) return closest
  await deps.backfill.closest(name, gap, time, closest?.event.originServerTs)
  return closestEvent(deps, name, reader, time)
}

/** Between the time and the event that was found: the order of the event after the gap. */
async function gapTowards(
  { db }: Stores,
  { room }: KnownRoom,
  { backwards }: RoomTime,
  closest: VisibleEvent | undefined,
): Promise<RoomOrder | undefined> {
  if (closest === undefined) return backwards ? gapAfter(db, room, beforeAll) : undefined
  const order = { anchor: closest.anchor!, minor: closest.minor }
  if (backwards) return gapAfter(db, room, order)
  return (await eventsAfterGaps(db, room, [closest.number])).has(closest.number) ? order : undefined
}

const beforeAll: RoomOrder = { anchor: -1, minor: 0 }

/** Of the events the reader may see, the one whose `origin_server_ts` is closest to `ts`, at it or in a direction from it. */
export async function closestEvent(
  { stores, gate }: ClosestEventDeps,
  name: KnownRoom,
  reader: Reader,
  { ts, backwards }: RoomTime,
): Promise<VisibleEvent | undefined> {
  let from: { readonly ts: number; readonly after?: EventNumber } = { ts }
  for (let page = 0; page < MOST.pages; page++) {
    const events = await eventsByTime(stores, name.room, { from, backwards, limit: MOST.atATime })
    const [closest] = await gate.readable(name, reader, events)
    const last = events.at(-1)
    if (closest !== undefined || last === undefined || events.length < MOST.atATime) return closest
    from = { ts: last.event.originServerTs, after: last.number }
  }
  return undefined
}
