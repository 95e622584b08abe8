import type { EventNumber } from '../protocol/numbers.js'
import { eventsByTime } from '../store/events-by-time.js'
import type { Stores } from '../store/stores.js'
import type { Gate, Reader, VisibleEvent } from './gate.js'
import type { KnownRoom } from './known-room.js'

/** So many are looked at; in a room of whose history the reader may see little, the closest may be further away. */
const MOST = { atATime: 50, pages: 10 }

/** Of the events the reader may see, the one whose `origin_server_ts` is closest to `ts`, at it or in a direction from it. */
export async function closestEvent(
  { stores, gate }: { readonly stores: Stores; readonly gate: Gate },
  name: KnownRoom,
  reader: Reader,
  { ts, backwards }: { readonly ts: number; readonly backwards: boolean },
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
