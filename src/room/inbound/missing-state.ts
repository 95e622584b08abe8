/**
 * The state after an event that we do not hold, or hold without its state: from a peer, as ids, of which only those we do
 * not hold are fetched. They are stored as outliers with their auth chains.
 *
 * A peer can say what it likes here, and the verdict on what stands on it will follow; that is how Matrix is. Looked at is
 * what cannot be true of any state: it holds the room's create event, state events only, one for each key, none rejected.
 */
import type { EventNumber, StateKeyNumber } from '../../protocol/numbers.js'
import type { HeldEvent } from '../../store/held-events.js'
import { holdAuthEvents, storeOutliers } from './auth-events.js'
import type { Fetching } from './fetching.js'
import { NotNow } from './not-now.js'
import type { StateIds } from './peers.js'
import type { Pdu } from './read-pdu.js'

/** Beyond so many missing events they come in one answer, with those we hold. */
const MANY = 100
/** No state of a room that this server could hold has more entries, nor an auth chain. */
const MOST_IDS = 1_000_000

/** @throws NotNow */
export async function stateAfterEvent(fetching: Fetching, eventId: string): Promise<readonly EventNumber[]> {
  const { name, deps } = fetching
  const ids = await fetching.firstOf(
    (server, peers, signal) => peers.stateIds(server, name.roomId, eventId, signal),
    ({ stateIds, authChainIds }) => stateIds.length > 0 && stateIds.length + authChainIds.length <= MOST_IDS,
  )
  await holdState(fetching, eventId, ids)
  const held = await fetching.held([...ids.stateIds, eventId])
  const state = stateOf(ids.stateIds, held)
  const { create } = await deps.rooms.head(name)
  if (create !== undefined && ![...state.values()].includes(create.number))
    throw new NotNow('peers', 'a state without m.room.create')
  const event = held.get(eventId)
  if (event === undefined) throw new NotNow('peers', `${eventId} is not to be had`)
  if (event.stateKey !== undefined && !event.isRejected) state.set(event.stateKey, event.number)
  return [...state.values()]
}

/** Rejected events are in no state: a peer that has them in one judged otherwise, and is not followed. */
export function stateOf(
  stateIds: readonly string[],
  held: ReadonlyMap<string, HeldEvent>,
): Map<StateKeyNumber, EventNumber> {
  const state = new Map<StateKeyNumber, EventNumber>()
  for (const eventId of new Set(stateIds)) {
    const event = held.get(eventId)
    if (event === undefined) throw new NotNow('peers', `an event of the state is not to be had: ${eventId}`)
    if (event.stateKey === undefined) throw new NotNow('peers', `no state event, and said to be in a state: ${eventId}`)
    if (event.isRejected) continue
    if (state.has(event.stateKey)) throw new NotNow('peers', `a state with two events of one key, ${eventId} is one`)
    state.set(event.stateKey, event.number)
  }
  return state
}

async function holdState(fetching: Fetching, eventId: string, { stateIds, authChainIds }: StateIds): Promise<void> {
  const wanted = new Set([...stateIds, ...authChainIds, eventId])
  const held = await fetching.held(wanted)
  const missing = [...wanted].filter((id) => !held.has(id))
  if (missing.length === 0) return
  const fetched = await fetchMissing(fetching, eventId, missing)
  await holdAuthOf(fetching, fetched)
  await storeOutliers(fetching, [...fetched.values()])
}

async function fetchMissing(
  fetching: Fetching,
  eventId: string,
  missing: readonly string[],
): Promise<Map<string, Pdu>> {
  if (missing.length <= MANY) return fetching.events(missing)
  const { name } = fetching
  const answer = await fetching.firstOf((server, peers, signal) => peers.state(server, name.roomId, eventId, signal))
  const wanted = new Set(missing)
  const found = await fetching.read([...answer.state, ...answer.authChain], (event) => wanted.has(event.eventId))
  const left = missing.filter((id) => !found.has(id))
  if (left.length <= MANY) for (const [id, pdu] of await fetching.events(left)) found.set(id, pdu)
  return found
}

/** A chain that the peer did not give whole. What is fetched stands on its own part of it. */
async function holdAuthOf(fetching: Fetching, fetched: ReadonlyMap<string, Pdu>): Promise<void> {
  const outside = [...fetched.values()].map((pdu) => ({
    ...pdu,
    event: { ...pdu.event, authEvents: pdu.event.authEvents.filter((id) => !fetched.has(id)) },
  }))
  await holdAuthEvents(fetching, outside)
}
