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
import { gapAt } from '../../store/gaps.js'
import type { Backfill } from '../backfill.js'
import type { KnownRoom } from '../known-room.js'
import { Budget, type BudgetLimits } from './asking.js'
import { holdAuthEvents } from './auth-events.js'
import { Fetching } from './fetching.js'
import { statesBefore } from './fill-gap.js'
import { inOrder } from './in-order.js'
import type { InboundDeps } from './inbound-deps.js'
import { NotNow } from './not-now.js'
import type { Pdu } from './read-pdu.js'
import { receive } from './receive-pdu.js'

/** Of one request, whatever the reader wants. */
const MOST_EVENTS = 100
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
      await this.store(asking, history, { anchor: order.anchor as Position, lowest: gap.lowest })
    } catch (cause) {
      if (!(cause instanceof NotNow)) throw cause
      this.deps.logger.info({ room_id: name.roomId, reason: cause.message }, 'history of a room is not to be had')
    }
  }

  /** Oldest first. One whose state nobody tells is left out; the next then stands after the gap. */
  private async store(
    fetching: Fetching,
    history: readonly Pdu[],
    { anchor, lowest }: { readonly anchor: Position; readonly lowest: number },
  ): Promise<void> {
    for (const [i, pdu] of history.entries()) {
      const place = { anchor, minor: lowest - (history.length - i) }
      try {
        const stateAfter = await statesBefore(fetching, pdu)
        const ofOtherRooms = fetching.otherRooms.among(pdu.event)
        await receive(this.deps, fetching.name, { pdu, how: { kind: 'history', place, stateAfter, ofOtherRooms } })
      } catch (cause) {
        if (!(cause instanceof NotNow) || cause.kind !== 'peers') throw cause
      }
    }
  }
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
