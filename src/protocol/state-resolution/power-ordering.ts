import { powerLevels } from '../authorization/index.js'
import { compareCodePoints } from '../canonical-json.js'
import { ExactNumber, own, ownString } from '../json.js'
import type { EventNumber } from '../numbers.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { Heap } from './heap.js'
import type { Events, ResolutionEvent } from './sets.js'

/**
 * "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with type
 * m.room.member where the membership is leave or ban and the sender does not match the state_key."
 */
export function isPowerEvent({ type, stateKey, sender, content }: RoomEvent): boolean {
  if (stateKey === undefined) return false
  if (type === 'm.room.power_levels' || type === 'm.room.join_rules') return stateKey === ''
  if (type !== 'm.room.member' || sender === stateKey) return false
  const membership = ownString(content, 'membership')
  return membership === 'leave' || membership === 'ban'
}

interface Vertex {
  readonly event: ResolutionEvent
  readonly level: number
  /** Auth events of it that are still to come. */
  open: number
}

/**
 * "The reverse topological power ordering of a set of events is the lexicographically smallest topological ordering based on
 * the DAG formed by auth events. The reverse topological power ordering is ordered from earliest event to latest. … [It] can
 * be found by sorting the events using Kahn's algorithm for topological sorting, and at each step selecting, among all the
 * candidate vertices, the smallest vertex using the above comparison relation."
 *
 * An event comes only after all of its auth events, however small it is: who was demoted by an event cannot slip in before
 * it by an early timestamp, if that event is among what authorises them.
 */
export function reverseTopologicalPowerOrdering(
  rules: RoomVersionRules,
  createOfRoom: RoomEvent | undefined,
  events: ReadonlySet<EventNumber>,
  event: Events,
): EventNumber[] {
  const vertices = new Map<EventNumber, Vertex>()
  const after = new Map<EventNumber, Vertex[]>()
  for (const number of events) {
    const one = event(number)
    const edges = new Set(one.authEvents.filter((authEvent) => events.has(authEvent)))
    const vertex = { event: one, level: senderLevel(rules, createOfRoom, one, event), open: edges.size }
    vertices.set(number, vertex)
    for (const edge of edges) {
      const others = after.get(edge)
      if (others === undefined) after.set(edge, [vertex])
      else others.push(vertex)
    }
  }
  const candidates = new Heap<Vertex>(isSmaller)
  for (const vertex of vertices.values()) if (vertex.open === 0) candidates.push(vertex)
  const ordered: EventNumber[] = []
  for (let next = candidates.pop(); next !== undefined; next = candidates.pop()) {
    ordered.push(next.event.number)
    for (const vertex of after.get(next.event.number) ?? []) if (--vertex.open === 0) candidates.push(vertex)
  }
  return ordered
}

/** x < y */
function isSmaller(x: Vertex, y: Vertex): boolean {
  // 1. x's sender has greater power level than y's sender, when looking at their respective auth_events; or
  if (x.level !== y.level) return x.level > y.level
  // 2. the senders have the same power level, but x's origin_server_ts is less than y's origin_server_ts; or
  // 3. the senders have the same power level and the events have the same origin_server_ts, but x's event_id is less than
  //    y's event_id.
  return isEarlier(x.event.event, y.event.event)
}

export function isEarlier(x: RoomEvent, y: RoomEvent): boolean {
  const [xs, ys] = [timestampOf(x), timestampOf(y)]
  return xs === ys ? compareCodePoints(x.eventId, y.eventId) < 0 : xs < ys
}

/** In v1–v5 it may be beyond what a double holds: two that differ must not be one moment here and two elsewhere. */
function timestampOf({ originServerTs, pdu }: RoomEvent): number | bigint {
  if (Math.abs(originServerTs) < Number.MAX_SAFE_INTEGER) return originServerTs
  const written = own(pdu, 'origin_server_ts')
  return written instanceof ExactNumber && /^-?[0-9]+$/.test(written.text) ? BigInt(written.text) : originServerTs
}

/** "… when looking at their respective auth_events"; since v12 the create event is not among them, but that of the room id. */
function senderLevel(
  rules: RoomVersionRules,
  createOfRoom: RoomEvent | undefined,
  { event: { sender }, authEvents }: ResolutionEvent,
  event: Events,
): number {
  const create = createOfRoom ?? authEventAt('m.room.create', authEvents, event)?.event
  if (create === undefined) return 0
  const level = powerLevels(rules, create, authEventAt('m.room.power_levels', authEvents, event)?.event).levelOf(sender)
  // One that cannot be read: any order will do that is the same everywhere.
  return Number.isNaN(level) ? 0 : level
}

/** The auth event of this type with an empty state key. */
export function authEventAt(
  type: string,
  authEvents: readonly EventNumber[],
  event: Events,
): ResolutionEvent | undefined {
  for (const number of authEvents) {
    const authEvent = event(number)
    if (authEvent.event.type === type && authEvent.event.stateKey === '') return authEvent
  }
  return undefined
}
