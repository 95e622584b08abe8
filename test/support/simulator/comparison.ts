/**
 * Whether servers agree about a room: equal extremities, equal current state, and for every event the same verdict and
 * the same state before and after it. That is more than equal current state, and finds a fault where it began. Soft
 * failures follow the order of arrival and may differ.
 */
import type { EventNumber, StateReference } from '../../../src/protocol/numbers.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { entries } from '../../../src/protocol/state-trie.js'
import { JudgedRoom, type LabState } from '../laboratory/index.js'
import type { SimulatedServer, WireEvent } from './simulated-server.js'

export interface Comparison {
  readonly differences: readonly string[]
  /** By the first server. */
  readonly rejected: number
  readonly softFailed: number
}

/** An event as one server holds it; states are sorted event ids. */
interface Held {
  readonly fate: 'accepted' | 'soft-failed' | 'rejected'
  readonly reason: string | null
  readonly before: readonly string[] | undefined
  readonly after: readonly string[] | undefined
  readonly isRedacted: boolean
}

interface View {
  readonly name: string
  readonly extremities: readonly string[]
  readonly state: readonly string[]
  readonly events: ReadonlyMap<string, Held>
}

export interface Compared {
  /** Whether extremities and current states, too. */
  readonly ends: boolean
  /** Given: every event is also held against the naive resolver. */
  readonly oracle: RoomVersionRules | undefined
}

export async function compare(
  servers: readonly SimulatedServer[],
  wires: readonly WireEvent[],
  { ends, oracle }: Compared,
): Promise<Comparison> {
  const [first, ...others] = await Promise.all(servers.map(viewOf))
  const differences = others.flatMap((other) => [
    ...(ends ? differencesOfEnds(first!, other) : []),
    ...differencesOf(first!, other, wires),
  ])
  if (oracle !== undefined) {
    const judged = judgedView(oracle, wires, first!)
    differences.push(...differencesOfEnds(first!, judged), ...differencesOf(first!, judged, wires))
  }
  const fates = [...first!.events.values()].map(({ fate }) => fate)
  return {
    differences,
    rejected: fates.filter((fate) => fate === 'rejected').length,
    softFailed: fates.filter((fate) => fate === 'soft-failed').length,
  }
}

const fates = ['accepted', 'soft-failed', 'rejected'] as const

async function viewOf(server: SimulatedServer): Promise<View> {
  const { stores } = server.engine
  const { room } = server.room
  const rows = await stores.db.selectFrom('event').selectAll().where('room', '=', room).orderBy('event').execute()
  const head = await stores.db.selectFrom('room').selectAll().where('room', '=', room).executeTakeFirstOrThrow()
  const ids = new Map(rows.map((row) => [row.event, row.event_id]))
  const idOf = (number: EventNumber): string => ids.get(number) ?? `event ${number}`
  const known = new Map<StateReference, string[]>()
  const stateOf = async (reference: StateReference): Promise<string[]> => {
    const state = known.get(reference)
    if (state !== undefined) return state
    const read = await stores.states.work(room, (segments) => entries(segments, reference))
    const sorted = read.map(([, number]) => idOf(number)).sort()
    known.set(reference, sorted)
    return sorted
  }
  const events = new Map<string, Held>()
  for (const row of rows) {
    const before = row.state_before === null ? undefined : await stateOf(row.state_before)
    events.set(row.event_id, {
      fate: fates[row.fate]!,
      reason: row.reason,
      before,
      after: row.state_after === null ? before : await stateOf(row.state_after),
      isRedacted: row.redacted_by !== null,
    })
  }
  return {
    name: server.name,
    extremities: head.forward_extremities.map(idOf).sort(),
    state: await stateOf(head.state),
    events,
  }
}

function differencesOfEnds(left: View, right: View): string[] {
  const pair = `${left.name} and ${right.name}`
  const differences: string[] = []
  if (!areSame(left.extremities, right.extremities)) {
    differences.push(`${pair} have other extremities: ${show(left.extremities)} / ${show(right.extremities)}`)
  }
  if (!areSame(left.state, right.state)) {
    differences.push(`${pair} have other current states: ${showDifference(left.state, right.state)}`)
  }
  return differences
}

function differencesOf(left: View, right: View, wires: readonly WireEvent[]): string[] {
  const pair = `${left.name} and ${right.name}`
  const differences: string[] = []
  for (const { event } of wires) {
    const difference = differenceOf(left.events.get(event.eventId), right.events.get(event.eventId))
    if (difference !== undefined) differences.push(`${pair}: ${event.type} ${event.eventId} ${difference}`)
  }
  return [...differences, ...differencesOfRedactions(left, right, wires).map((difference) => `${pair}: ${difference}`)]
}

/** A redaction that one of them soft-failed may rightly have taken effect at the other alone. */
function differencesOfRedactions(left: View, right: View, wires: readonly WireEvent[]): string[] {
  const isSoftFailed = (eventId: string) =>
    [left, right].some(({ events }) => events.get(eventId)?.fate === 'soft-failed')
  const doubtful = new Set(wires.filter(({ event }) => isSoftFailed(event.eventId)).map(({ event }) => event.redacts))
  return wires.flatMap(({ event: { eventId } }) => {
    const [here, there] = [left.events.get(eventId)?.isRedacted, right.events.get(eventId)?.isRedacted]
    return here === there || doubtful.has(eventId) ? [] : [`${eventId} is redacted: ${here} / ${there}`]
  })
}

function differenceOf(left: Held | undefined, right: Held | undefined): string | undefined {
  if (left === undefined || right === undefined) return 'is not with both'
  if (!areSame(left.before, right.before)) {
    return `has other states before it: ${showDifference(left.before, right.before)}`
  }
  if ((left.fate === 'rejected') !== (right.fate === 'rejected')) {
    return `is ${left.fate} (${left.reason}) / ${right.fate} (${right.reason})`
  }
  if (!areSame(left.after, right.after)) return `has other states after it: ${showDifference(left.after, right.after)}`
  return undefined
}

const areSame = (left: readonly string[] | undefined, right: readonly string[] | undefined): boolean =>
  left === right || (left?.length === right?.length && left!.every((id, at) => id === right![at]))

const show = (ids: readonly string[]): string => ids.join(' ')

const showDifference = (left: readonly string[] = [], right: readonly string[] = []): string =>
  `${show(left.filter((id) => !right.includes(id)))} / ${show(right.filter((id) => !left.includes(id)))}`

/** What the naive resolver says. Extremities and redactions are not its business: they are those of `like`. */
function judgedView(rules: RoomVersionRules, wires: readonly WireEvent[], like: View): View {
  const room = new JudgedRoom(rules)
  const events = new Map<string, Held>()
  const sorted = (state: LabState): string[] => [...state.values()].sort()
  for (const { event, text } of wires) {
    const { verdict, stateBefore, stateAfter } = room.add(event, text)
    events.set(event.eventId, {
      fate: verdict.allowed ? 'accepted' : 'rejected',
      reason: verdict.allowed ? null : verdict.reason,
      before: sorted(stateBefore),
      after: sorted(stateAfter),
      isRedacted: like.events.get(event.eventId)?.isRedacted ?? false,
    })
  }
  return {
    name: 'the naive resolver',
    extremities: like.extremities,
    state: sorted(room.stateAfter(like.extremities)),
    events,
  }
}
