/**
 * "Starting from an event in the conflicted state set and following auth_events edges may lead to another event in the
 * conflicted state set. The union of all such paths between any pair of events in the conflicted state set (including
 * endpoints) forms a subgraph of the original auth_event graph, called the conflicted state subgraph."
 * https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
 */
import type { EventNumber } from '../../protocol/numbers.js'
import type { AuthGraph } from './auth-graph.js'
import type { Budget } from './limits.js'

/** Only what lies as deep as the shallowest conflicted event is looked at: nothing below can lead to one. */
export async function conflictedSubgraph(
  graph: AuthGraph,
  conflicted: ReadonlySet<EventNumber>,
  budget: Budget,
): Promise<Set<EventNumber>> {
  await budget.waitFor(graph.load(conflicted))
  let floor = Infinity
  for (const number of conflicted) floor = Math.min(floor, graph.get(number).authDepth)
  const below = new Set(conflicted)
  for (let front: EventNumber[] = [...conflicted]; front.length > 0;) {
    budget.spend(front.length)
    const next = new Set(front.flatMap((number) => graph.get(number).authEvents))
    await budget.waitFor(graph.load(next))
    front = [...next].filter((number) => !below.has(number) && graph.get(number).authDepth > floor)
    for (const number of front) below.add(number)
  }
  return leadingTo(graph, below, conflicted)
}

/** Those of the events from which a conflicted event is reached, and the conflicted events at both ends of a path. */
function leadingTo(
  graph: AuthGraph,
  below: ReadonlySet<EventNumber>,
  conflicted: ReadonlySet<EventNumber>,
): Set<EventNumber> {
  const leads = new Set<EventNumber>()
  const ends = new Set<EventNumber>()
  for (const number of [...below].sort((a, b) => graph.get(a).authDepth - graph.get(b).authDepth)) {
    for (const authEvent of graph.get(number).authEvents) {
      if (conflicted.has(authEvent)) ends.add(authEvent)
      if (conflicted.has(authEvent) || leads.has(authEvent)) leads.add(number)
    }
  }
  for (const end of ends) leads.add(end)
  return leads
}
