/**
 * The auth difference of states, without their full auth chains.
 *
 * The full auth chain Cᵢ of a state Sᵢ is the union of its events and their auth chains (docs/decisions/0005-state-resolution.md
 * says why its events), and the difference is ∪Cᵢ − ∩Cᵢ. Let U be the unconflicted entries, which all states have, and Vᵢ the
 * conflicted events of Sᵢ, which are in the full conflicted set anyway. An event of U or chain(U) is in all Cᵢ and so not in
 * the difference. Any other event, if not conflicted, is in Cᵢ exactly if it is in chain(Vᵢ). So the difference is what is in
 * some chain(Vᵢ) and not in all, less chain(U) and U:
 *
 * 1. **Down from the conflicted events** (`candidates`): all Vᵢ are walked at once, with a bit for each i, from the greatest
 *    auth depth down. An event's auth depth is greater than that of everything in its chain, so when an event is taken, all
 *    that could reach it has been taken, and its bits are complete. When all that waits has all bits, whatever follows has
 *    them too, and the walk ends: it goes back to where the branches forked, not to the create event (as git finds merge
 *    bases).
 * 2. **Up from the candidates** (`reachedFrom`): a candidate that an entry of U reaches is removed, and then those that are
 *    entries of U themselves. Starting from the
 *    conflicted events alone, without this step, gives a wrong answer where the branches agree on an event that stands on
 *    one of the candidates. An index of auth edges in reverse answers, and nearly always the first step finds an entry of U
 *    or nothing at all.
 */
import type { EventNumber } from '../../protocol/numbers.js'
import type { AuthChild } from '../../store/auth-chains.js'
import { Heap } from '../../protocol/state-resolution/heap.js'
import type { AuthGraph } from './auth-graph.js'
import type { Budget } from './limits.js'

/** `sets`: the conflicted events of each state. */
export async function candidates(
  graph: AuthGraph,
  sets: readonly (readonly EventNumber[])[],
  budget: Budget,
): Promise<Set<EventNumber>> {
  const all = (1n << BigInt(sets.length)) - 1n
  const bits = new Map<EventNumber, bigint>()
  const queue = new Heap<EventNumber>((left, right) => graph.get(left).authDepth > graph.get(right).authDepth)
  /** In the queue with not all bits: while there are any, the walk goes on. */
  let open = 0
  const reach = (number: EventNumber, by: bigint): void => {
    const before = bits.get(number)
    const after = (before ?? 0n) | by
    if (before === undefined) queue.push(number)
    if (before === undefined && after !== all) open++
    if (before !== undefined && before !== all && after === all) open--
    bits.set(number, after)
  }
  const authEventsOf = (numbers: Iterable<EventNumber>) =>
    new Set([...numbers].flatMap((number) => graph.get(number).authEvents))

  const conflicted = new Set(sets.flat())
  await budget.waitFor(graph.load(conflicted))
  await budget.waitFor(graph.load(authEventsOf(conflicted)))
  for (const [index, set] of sets.entries()) {
    for (const number of set)
      for (const authEvent of graph.get(number).authEvents) reach(authEvent, 1n << BigInt(index))
  }
  const found = new Set<EventNumber>()
  while (open > 0) {
    const number = queue.pop()!
    budget.spend(1)
    const reachedBy = bits.get(number)!
    if (reachedBy !== all) {
      open--
      found.add(number)
    }
    const { authEvents } = graph.get(number)
    await budget.waitFor(graph.load(authEvents))
    for (const authEvent of authEvents) reach(authEvent, reachedBy)
  }
  return found
}

/** Events looked at first of those that stand on one, at least, and of those that stand on all together. */
const FEW = 16
const FEW_OF_ALL = 512

/**
 * Those of the candidates that the auth chain of an unconflicted entry holds. `some` are such entries, looked at first: what
 * thousands of members stand on, as on join rules, nearly any of them reaches. `entriesAmong` says which events are such.
 */
export async function reachedFrom(
  graph: AuthGraph,
  found: ReadonlySet<EventNumber>,
  some: readonly EventNumber[],
  entriesAmong: (events: readonly AuthChild[]) => Promise<readonly AuthChild[]>,
  budget: Budget,
): Promise<Set<EventNumber>> {
  const reached = new Set<EventNumber>()
  /** All that stands on a candidate, as far as it was seen, with what it stands on. */
  const above = new Map<EventNumber, readonly EventNumber[]>()
  for (const candidate of found) above.set(candidate, graph.get(candidate).authEvents)
  await budget.waitFor(graph.load(some))
  for (const entry of some) addChains(above, graph.get(entry).authEvents, reached)
  let front = [...found].filter((candidate) => !reached.has(candidate))
  // Nearly always one of the first few is an entry: join rules, say, on which thousands of members stand.
  let limit = fewOf(front)
  while (front.length > 0) {
    const { byParent, cut } = await budget.waitFor(graph.children(front, limit))
    const children = [...byParent.values()].flat()
    budget.spend(new Set(children).size)
    for (const { authEvents } of await budget.waitFor(entriesAmong(children))) addChains(above, authEvents, reached)
    // It may have been found to be reached before it was known that it stands on this one too.
    for (const { event, authEvents } of children) if (reached.has(event)) addChains(above, authEvents, reached)
    const open = new Set<EventNumber>()
    for (const [parent, ofParent] of byParent) {
      if (reached.has(parent)) continue
      if (cut.has(parent)) open.add(parent)
      for (const { event, authEvents } of ofParent) {
        if (above.has(event)) continue
        above.set(event, authEvents)
        open.add(event)
      }
    }
    front = [...open]
    limit = cut.size > 0 ? limit * 8 : fewOf(front)
  }
  return reached
}

const fewOf = ({ length }: readonly EventNumber[]): number => Math.max(FEW, Math.floor(FEW_OF_ALL / length))

function addChains(
  above: ReadonlyMap<EventNumber, readonly EventNumber[]>,
  from: readonly EventNumber[],
  into: Set<EventNumber>,
): void {
  const open = [...from]
  for (let number = open.pop(); number !== undefined; number = open.pop()) {
    const authEvents = above.get(number)
    if (authEvents === undefined || into.has(number)) continue
    into.add(number)
    open.push(...authEvents)
  }
}
