/**
 * Holding the auth events of PDUs: what is missing of their auth chains is fetched, and stored as outliers, parents
 * before children, each after checks 1 to 4; those that fail check 4 are stored as rejected, which rejects their children.
 */
import type { Fetching } from './fetching.js'
import { inOrder } from './in-order.js'
import { NotNow } from './not-now.js'
import type { Pdu } from './read-pdu.js'
import { receiveAll } from './receive-pdu.js'

/** After it, the auth events of all of the PDUs are held, or known to be of other rooms. @throws NotNow */
export async function holdAuthEvents(fetching: Fetching, pdus: readonly Pdu[]): Promise<void> {
  const missing = await missingOf(fetching, pdus, new Map())
  if (missing.length === 0) return
  const chain = await fetchChain(fetching, pdus, missing)
  await storeOutliers(fetching, [...chain.values()])
}

async function missingOf(
  fetching: Fetching,
  pdus: Iterable<Pdu>,
  fetched: ReadonlyMap<string, Pdu>,
): Promise<string[]> {
  const named = new Set<string>()
  for (const { event } of pdus) {
    const others = fetching.otherRooms.among(event)
    for (const eventId of event.authEvents) if (!fetched.has(eventId) && !others.includes(eventId)) named.add(eventId)
  }
  const held = await fetching.held(named)
  return [...named].filter((eventId) => !held.has(eventId))
}

/** From a peer that has the chain of a PDU in one answer, then whatever is still missing one by one. */
async function fetchChain(
  fetching: Fetching,
  pdus: readonly Pdu[],
  missing: readonly string[],
): Promise<Map<string, Pdu>> {
  const fetched = new Map<string, Pdu>()
  if (missing.length > 1) await fetchAtOnce(fetching, pdus, missing, fetched)
  const asked = new Set<string>()
  for (;;) {
    const wanted = await missingOf(fetching, [...pdus, ...fetched.values()], fetched)
    if (wanted.length === 0) return fetched
    const lost = wanted.filter((eventId) => asked.has(eventId))
    if (lost.length > 0) {
      throw new NotNow('auth events', `${lost.length} auth events are not to be had, among them ${lost[0]}`)
    }
    for (const [eventId, pdu] of await fetching.events(wanted)) fetched.set(eventId, pdu)
    for (const eventId of wanted) asked.add(eventId)
  }
}

/** Only the closure of what was asked for is taken, however much a peer sends. */
async function fetchAtOnce(
  fetching: Fetching,
  pdus: readonly Pdu[],
  missing: readonly string[],
  fetched: Map<string, Pdu>,
): Promise<void> {
  const { name } = fetching
  const asked = pdus.find(({ event }) => event.authEvents.some((eventId) => missing.includes(eventId)))!.event.eventId
  const texts = await fetching
    .firstOf((server, peers, signal) => peers.eventAuth(server, name.roomId, asked, signal))
    .catch((cause: unknown) => {
      if (cause instanceof NotNow && cause.kind === 'peers') return []
      throw cause
    })
  const offered = await fetching.read(texts, () => true)
  const reached = [...missing]
  for (const eventId of reached) {
    const pdu = offered.get(eventId)
    if (pdu === undefined || fetched.has(eventId)) continue
    fetched.set(eventId, pdu)
    reached.push(...pdu.event.authEvents)
  }
}

/** So many events go to the room's lane together, which is one commit or a few. */
const TOGETHER = 200

/**
 * Their auth events are held or among them.
 * @throws NotNow when they claim to stand on each other.
 */
export async function storeOutliers(fetching: Fetching, pdus: readonly Pdu[]): Promise<void> {
  const { deps, name, budget, otherRooms } = fetching
  const { ordered, cyclic } = inOrder(
    pdus,
    ({ event }) => event.eventId,
    ({ event }) => event.authEvents,
  )
  for (let at = 0; at < ordered.length; at += TOGETHER) {
    budget.checkTime()
    const outliers = ordered.slice(at, at + TOGETHER).map((pdu) => ({
      pdu,
      how: { kind: 'outlier', attempts: budget.attempts, ofOtherRooms: otherRooms.among(pdu.event) } as const,
    }))
    const failure = (await receiveAll(deps, name, outliers)).find(({ status }) => status === 'rejected')
    if (failure?.status === 'rejected') throw failure.reason
  }
  if (cyclic.length > 0) {
    deps.counters.countDropped('cycle')
    throw new NotNow('auth events', `${cyclic.length} auth events name each other`)
  }
}
