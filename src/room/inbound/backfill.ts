/**
 * History from other servers, for who reads a room backwards into a gap (src/room/backfill.ts).
 *
 * What a peer sends is checked as any PDU is and stored oldest first, each on the state of the one before; the oldest on
 * a state the peer tells. It stands below what is known at its anchor, in reverse topological order, and changes neither
 * the current state nor the extremities. A room is filled one gap at a time: readers who come to the same gap meanwhile
 * wait and find it filled.
 */
import { serverNameOf } from '../../protocol/identifiers.js'
import type { Position } from '../../protocol/numbers.js'
import { OneAtATime } from '../../one-at-a-time.js'
import type { RoomOrder } from '../../store/events.js'
import { gapAt, type GapBefore } from '../../store/gaps.js'
import type { Backfill } from '../backfill.js'
import type { KnownRoom } from '../known-room.js'
import { Budget, type BudgetLimits } from './asking.js'
import { holdAuthEvents } from './auth-events.js'
import { Fetching } from './fetching.js'
import { receiveChain, statesBefore, type StateAfter } from './fill-gap.js'
import { inOrder } from './in-order.js'
import type { InboundDeps } from './inbound-deps.js'
import { NotNow } from './not-now.js'
import type { RoomTime } from './peers.js'
import type { Pdu } from './read-pdu.js'
import type { Checked } from './receive-pdu.js'

/** Of one request, whatever the reader wants. */
const MOST_EVENTS = 100
/** Places left free before an event that stands in the middle of a gap, for what lies between. */
const WIDTH = 2 ** 22
/** The column has 32 bits. */
const LOWEST = -(2 ** 31) + WIDTH
/** Somebody waits for it. */
const budget: BudgetLimits = { pdus: 20_000, bytes: 64 * 1024 * 1024, time: 10_000 }

export class PeerBackfill implements Backfill {
  private readonly rooms = new OneAtATime()

  constructor(private readonly deps: InboundDeps) {}

  async before(name: KnownRoom, order: RoomOrder, limit: number): Promise<void> {
    await this.rooms.run(name.roomId, () => this.fill(name, order, Math.min(limit, MOST_EVENTS)))
  }

  /** The reader gets what there is. */
  private async fill(name: KnownRoom, order: RoomOrder, limit: number): Promise<void> {
    try {
      // What comes before our join stands on a state that lacks members until they are here.
      if (!(await this.deps.rooms.whole(name, budget.time))) return
      const gap = await gapAt(this.deps.db, name.room, order)
      if (gap === undefined || gap.missing.length === 0) return
      const first = serverNameOf(gap.sender)
      const asking = new Fetching(
        this.deps,
        name,
        first === undefined ? [] : [first],
        new Budget(budget, this.deps.now),
      )
      const history = await fetchHistory(asking, gap.missing, limit)
      // Where others have been put into the gap, and leave no room, it goes below all there is.
      const hasRoom = gap.below === null || order.minor - gap.below > history.length
      const end = { anchor: order.anchor as Position, minor: hasRoom ? order.minor : gap.lowest }
      await this.store(asking, history, end)
    } catch (cause) {
      if (!(cause instanceof NotNow)) throw cause
      this.deps.logger.info({ room_id: name.roomId, reason: cause.message }, 'history of a room is not to be had')
    }
  }

  async closest(name: KnownRoom, order: RoomOrder, time: RoomTime, than: number | undefined): Promise<void> {
    await this.rooms.run(name.roomId, async () => {
      try {
        await this.fetchClosest(name, order, time, than)
      } catch (cause) {
        if (!(cause instanceof NotNow)) throw cause
        this.deps.logger.info({ room_id: name.roomId, reason: cause.message }, 'no closer event is to be had')
      }
    })
  }

  private async fetchClosest(
    name: KnownRoom,
    order: RoomOrder,
    { ts, backwards }: RoomTime,
    than: number | undefined,
  ): Promise<void> {
    const isCloser = (found: number) =>
      backwards ? found <= ts && found > (than ?? -Infinity) : found >= ts && found < (than ?? Infinity)
    // As in `fill`.
    if (!(await this.deps.rooms.whole(name, budget.time))) return
    const gap = await gapAt(this.deps.db, name.room, order)
    const minor = gap && middleOf(gap, order)
    if (gap === undefined || gap.missing.length === 0 || minor === undefined) return
    const fetching = new Fetching(this.deps, name, [], new Budget(budget, this.deps.now))
    const found = await fetching.firstOf(
      (server, peers, signal) => peers.closestEvent(server, name.roomId, { ts, backwards }, signal),
      (answer) => answer !== undefined && isCloser(answer.ts),
    )
    const { eventId } = found!
    if ((await fetching.held([eventId])).get(eventId)?.hasState === true) return
    const pdu = (await fetching.events([eventId])).get(eventId)
    if (pdu === undefined || !isCloser(pdu.event.originServerTs)) return
    await holdAuthEvents(fetching, [pdu])
    await this.store(fetching, [pdu], { anchor: order.anchor as Position, minor: minor + 1 })
  }

  /** Oldest first, right before `end`. One whose state nobody tells is left out; the next then stands after the gap. */
  private async store(
    fetching: Fetching,
    history: readonly Pdu[],
    end: { readonly anchor: Position; readonly minor: number },
  ): Promise<void> {
    const places = new Map(history.map((pdu, i) => [pdu, end.minor - (history.length - i)]))
    const checkedOf = (pdu: Pdu, stateAfter: StateAfter): Checked => {
      const place = { anchor: end.anchor, minor: places.get(pdu)! }
      const ofOtherRooms = fetching.otherRooms.among(pdu.event)
      return { pdu, how: { kind: 'history', place, stateAfter, ofOtherRooms } }
    }
    await receiveChain(fetching, history, checkedOf, statesToldBefore)
  }
}

async function statesToldBefore(fetching: Fetching, pdu: Pdu): Promise<StateAfter | undefined> {
  try {
    return await statesBefore(fetching, pdu)
  } catch (cause) {
    if (cause instanceof NotNow && cause.kind === 'peers') return undefined
    throw cause
  }
}

/** undefined: there is no room left. */
function middleOf({ below, lowest }: GapBefore, { minor }: RoomOrder): number | undefined {
  const middle = below === null ? lowest - WIDTH : Math.floor((minor + below) / 2)
  return middle > LOWEST && middle !== below ? middle : undefined
}

/** What was missing and what it stands on, as far as one answer goes; what we have the state of is not history to us. */
async function fetchHistory(fetching: Fetching, missing: readonly string[], limit: number): Promise<readonly Pdu[]> {
  const { roomId } = fetching.name
  const texts = await fetching.firstOf(
    (server, peers, signal) => peers.backfill(server, roomId, missing, limit, signal),
    (answer) => answer.length > 0,
  )
  const offered = await fetching.read(texts.slice(0, limit), () => true)
  const held = await fetching.held(offered.keys())
  const taken = new Map<string, Pdu>()
  const reached = [...missing]
  for (const eventId of reached) {
    const pdu = offered.get(eventId)
    if (pdu === undefined || taken.has(eventId) || held.get(eventId)?.hasState === true) continue
    taken.set(eventId, pdu)
    reached.push(...pdu.event.prevEvents)
  }
  const { ordered } = inOrder(
    taken.values(),
    ({ event }) => event.eventId,
    ({ event }) => event.prevEvents,
  )
  await holdAuthEvents(fetching, ordered)
  return ordered
}
