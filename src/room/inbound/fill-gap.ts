/**
 * Filling the gap before a PDU: its auth events, then the events between it and what we hold, if they are few. Where the
 * gap is larger, the state after the events at its far end is taken from a peer, and the room goes on from there with a
 * backward extremity.
 */
import type { EventNumber } from '../../protocol/numbers.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import { holdAuthEvents } from './auth-events.js'
import { standsBeside } from '../admit-event.js'
import type { Fetching } from './fetching.js'
import { inOrder } from './in-order.js'
import { stateAfterEvent } from './missing-state.js'
import { NotNow } from './not-now.js'
import type { Pdu } from './read-pdu.js'
import { checkPolicy, receiveAll, type Checked } from './receive-pdu.js'

/** Of one answer, and how many answers make a gap that is small. */
const LIMIT = 50
const ROUNDS = 4
/** As many as an event may name. Each may cost a whole state. */
const MOST_STATES = 20

/** So many events go to the room's lane together. */
const TOGETHER = 100

export type StateAfter = ReadonlyMap<string, readonly EventNumber[]>

const nothing: StateAfter = new Map()

/** What `rooms.receive` needs to take the PDU: what is missing before it is held, or its state given. @throws NotNow */
export async function fillGap(fetching: Fetching, pdu: Pdu): Promise<StateAfter> {
  await holdAuthEvents(fetching, [pdu])
  const missing = await withoutState(fetching, [pdu.event])
  if (missing.length === 0 || (await standsBesideOurJoin(fetching, pdu.event))) return new Map()
  const between = await missingEvents(fetching, pdu, missing)
  await receiveBetween(fetching, between)
  return statesBefore(fetching, pdu)
}

/** The prev events of these after which we know no state. */
async function withoutState(fetching: Fetching, events: readonly RoomEvent[]): Promise<string[]> {
  const named = new Set(events.flatMap(({ prevEvents }) => prevEvents))
  for (const { eventId } of events) named.delete(eventId)
  const held = await fetching.held(named)
  return [...named].filter((eventId) => held.get(eventId)?.hasState !== true)
}

/** From peers, newest first, until what they stand on is held or the gap proves large. Nobody has them: then none. */
async function missingEvents(fetching: Fetching, pdu: Pdu, missing: readonly string[]): Promise<Map<string, Pdu>> {
  const found = new Map<string, Pdu>()
  let latest = [pdu.event.eventId]
  let wanted = new Set(missing)
  for (let round = 0; round < ROUNDS && wanted.size > 0; round++) {
    const before = found.size
    for (const [eventId, event] of await askForMissing(fetching, latest, wanted)) found.set(eventId, event)
    if (found.size === before) break
    const left = await withoutState(fetching, [pdu.event, ...[...found.values()].map(({ event }) => event)])
    wanted = new Set(left.filter((eventId) => !found.has(eventId)))
    const stillOpen = [...found.values()].filter(({ event }) => event.prevEvents.some((id) => wanted.has(id)))
    latest = stillOpen.map(({ event }) => event.eventId).slice(0, MOST_STATES)
  }
  return found
}

/** Of an answer, what the wanted ones are and stand on. */
async function askForMissing(
  fetching: Fetching,
  latest: readonly string[],
  wanted: ReadonlySet<string>,
): Promise<Map<string, Pdu>> {
  const { deps, name } = fetching
  const { extremities } = await deps.rooms.head(name)
  const earliest = extremities.map(({ event }) => event.eventId)
  const gap = { earliest, latest, limit: LIMIT, minDepth: 0 }
  const texts = await fetching
    .firstOf(
      (server, peers, signal) => peers.missingEvents(server, name.roomId, gap, signal),
      (answer) => answer.length > 0,
    )
    .catch((cause: unknown) => {
      if (cause instanceof NotNow && cause.kind === 'peers') return []
      throw cause
    })
  const offered = await fetching.read(texts.slice(0, LIMIT), () => true)
  const taken = new Map<string, Pdu>()
  const reached = [...wanted]
  for (const eventId of reached) {
    const pdu = offered.get(eventId)
    if (pdu === undefined || taken.has(eventId)) continue
    taken.set(eventId, pdu)
    reached.push(...pdu.event.prevEvents)
  }
  return taken
}

/** Each as if it had come by itself; what fails its checks is stored with its fate. */
async function receiveBetween(fetching: Fetching, between: ReadonlyMap<string, Pdu>): Promise<void> {
  const { deps, name } = fetching
  const { ordered, cyclic } = inOrder(
    between.values(),
    ({ event }) => event.eventId,
    ({ event }) => event.prevEvents,
  )
  if (cyclic.length > 0) deps.counters.countDropped('cycle')
  await holdAuthEvents(fetching, ordered)
  await receiveChain(fetching, ordered, async (pdu, stateAfter) => {
    const checked = await checkPolicy(deps, name, pdu)
    const { budget, otherRooms } = fetching
    const ofOtherRooms = otherRooms.among(pdu.event)
    const how = { kind: 'live', stateAfter, policy: checked.policy, attempts: budget.attempts, ofOtherRooms } as const
    return { pdu: checked.pdu, how }
  })
}

/**
 * Takes in events that stand on each other, parents first, many in a commit. Where an event stands on one that is neither
 * held nor among them, what goes before it is stored, and a peer is asked for the state. `stateBefore` says undefined of
 * an event that is to be left out.
 */
export async function receiveChain(
  fetching: Fetching,
  ordered: readonly Pdu[],
  checkedOf: (pdu: Pdu, stateAfter: StateAfter) => Promise<Checked> | Checked,
  stateBefore: (fetching: Fetching, pdu: Pdu) => Promise<StateAfter | undefined> = statesBefore,
): Promise<void> {
  const { deps, name, budget } = fetching
  const unknown = new Set(
    await withoutState(
      fetching,
      ordered.map(({ event }) => event),
    ),
  )
  const ready: Checked[] = []
  const handOver = async () => {
    budget.checkTime()
    const failure = (await receiveAll(deps, name, ready.splice(0))).find(({ status }) => status === 'rejected')
    if (failure?.status === 'rejected') throw failure.reason
  }
  for (const pdu of ordered) {
    const isAfterGap = pdu.event.prevEvents.some((eventId) => unknown.has(eventId))
    if (ready.length > 0 && (isAfterGap || ready.length === TOGETHER)) await handOver()
    const stateAfter = isAfterGap ? await stateBefore(fetching, pdu) : nothing
    if (stateAfter === undefined) unknown.add(pdu.event.eventId)
    else ready.push(await checkedOf(pdu, stateAfter))
  }
  if (ready.length > 0) await handOver()
}

/** While members of the room are to come: whether the state before the event is that before our join. */
async function standsBesideOurJoin({ deps, name }: Fetching, event: RoomEvent): Promise<boolean> {
  const { partialJoin } = (await deps.rooms.head(name)).head
  if (partialJoin === undefined) return false
  const join = (await deps.stores.events.events(name.room, [partialJoin])).get(partialJoin)!
  return standsBeside(event, join.event)
}

export async function statesBefore(fetching: Fetching, { event }: Pdu): Promise<StateAfter> {
  const missing = await withoutState(fetching, [event])
  if (missing.length === 0 || (await standsBesideOurJoin(fetching, event))) return new Map()
  // Beside a state that lacks members, everybody in a whole one would be in conflict.
  if (await fetching.deps.rooms.isPartial(fetching.name))
    throw new NotNow('members', 'what it stands on is known when all members of the room are here')
  if (missing.length > MOST_STATES) throw new NotNow('budget', `needs the states after ${missing.length} events`)
  const states = new Map<string, readonly EventNumber[]>()
  for (const eventId of missing) states.set(eventId, await stateAfterEvent(fetching, eventId))
  return states
}
