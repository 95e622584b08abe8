/**
 * State resolution as the specification words it, at any cost: over whole states, with full auth chains. It shares nothing
 * with src/protocol/state-resolution but the authorisation rules, so that one can be held against the other.
 *
 * https://spec.matrix.org/v1.19/rooms/v1/#state-resolution, …/v2/…, …/v12/…
 */
import { hash } from 'node:crypto'
import { authorize, powerLevels } from '../../../src/protocol/authorization/index.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'

/** Event ids by `keyOf(type, stateKey)`. */
export type NaiveState = ReadonlyMap<string, string>

export interface NaiveEvent {
  readonly event: RoomEvent
  readonly rejected: boolean
}

export type NaiveEvents = (eventId: string) => NaiveEvent

/**
 * Which events of the auth chain of a power event belong to X: those that are reached through events of the full conflicted
 * set alone, or, as the sentence has it, all that belong to the set. docs/decisions/0005-state-resolution.md
 */
export type Enlarging = 'through-the-set' | 'whole-chain'

export const keyOf = (type: string, stateKey: string): string => JSON.stringify([type, stateKey])
const keyOfEvent = ({ type, stateKey }: RoomEvent): string => keyOf(type, stateKey ?? '')

const CREATE = keyOf('m.room.create', '')
const POWER_LEVELS = keyOf('m.room.power_levels', '')

export function resolveNaively(
  rules: RoomVersionRules,
  states: readonly NaiveState[],
  get: NaiveEvents,
  enlarging: Enlarging = 'through-the-set',
): NaiveState {
  if (rules.stateResolution === 'v1') return new NaiveV1(rules, get).resolve(states)
  return new NaiveV2(rules, get, enlarging).resolve(states)
}

const union = <T>(sets: readonly Iterable<T>[]): Set<T> => new Set(sets.flatMap((set) => [...set]))

/** "… all of E's auth events, all of their auth events, and so on recursively, stretching back to the start of the room." */
export function authChain(eventId: string, get: NaiveEvents): Set<string> {
  const chain = new Set<string>()
  const open = [...get(eventId).event.authEvents]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (chain.has(next)) continue
    chain.add(next)
    open.push(...get(next).event.authEvents)
  }
  return chain
}

/**
 * "If a given key K is present in every Sᵢ with the same value V in each state map, then the pair (K, V) belongs to the
 * unconflicted state map. Otherwise, V belongs to the conflicted state set."
 */
export function separate(states: readonly NaiveState[]): { unconflicted: NaiveState; conflicted: Set<string> } {
  const unconflicted = new Map<string, string>()
  const conflicted = new Set<string>()
  for (const state of states) {
    for (const [key, value] of state) {
      if (states.every((other) => other.get(key) === value)) unconflicted.set(key, value)
      else conflicted.add(value)
    }
  }
  return { unconflicted, conflicted }
}

/**
 * Version 1: "A conflict occurs between states where those states have different event_ids for the same (event_type,
 * state_key)." A state that lacks the key conflicts with none.
 */
export function separateV1(states: readonly NaiveState[]): { unconflicted: NaiveState; conflicted: Set<string> } {
  const unconflicted = new Map<string, string>()
  const conflicted = new Set<string>()
  for (const key of union(states.map((state) => state.keys()))) {
    const values = new Set(states.map((state) => state.get(key)).filter((value) => value !== undefined))
    if (values.size === 1) unconflicted.set(key, [...values][0]!)
    else for (const value of values) conflicted.add(value)
  }
  return { unconflicted, conflicted }
}

/**
 * "If Cᵢ is the full auth chain of Sᵢ, then the auth difference is ∪Cᵢ − ∩Cᵢ." With the events of Sᵢ themselves, which the
 * text does not say: docs/decisions/0005-state-resolution.md
 */
export function authDifference(states: readonly NaiveState[], get: NaiveEvents): Set<string> {
  const withChain = (eventId: string) => [eventId, ...authChain(eventId, get)]
  const chains = states.map((state) => new Set([...state.values()].flatMap(withChain)))
  return new Set([...union(chains)].filter((eventId) => !chains.every((chain) => chain.has(eventId))))
}

/**
 * "Starting from an event in the conflicted state set and following auth_events edges may lead to another event in the
 * conflicted state set. The union of all such paths between any pair of events in the conflicted state set (including
 * endpoints) forms a subgraph of the original auth_event graph, called the conflicted state subgraph."
 */
export function conflictedSubgraph(conflicted: ReadonlySet<string>, get: NaiveEvents): Set<string> {
  const subgraph = new Set<string>()
  for (const start of conflicted) {
    const below = authChain(start, get)
    for (const end of conflicted) {
      if (!below.has(end)) continue
      for (const eventId of [start, end]) subgraph.add(eventId)
      for (const eventId of below) if (authChain(eventId, get).has(end)) subgraph.add(eventId)
    }
  }
  return subgraph
}

class NaiveV2 {
  constructor(
    private readonly rules: RoomVersionRules,
    private readonly get: NaiveEvents,
    private readonly enlarging: Enlarging,
  ) {}

  resolve(states: readonly NaiveState[]): NaiveState {
    const { rules, get } = this
    const { unconflicted, conflicted } = separate(states)
    const full = union([conflicted, authDifference(states, get)])
    if (rules.stateResolution === 'v2.1') for (const one of conflictedSubgraph(conflicted, get)) full.add(one)

    const x = this.enlarged(full)
    const start = rules.stateResolution === 'v2.1' ? new Map<string, string>() : unconflicted
    const partial = this.iterativeAuthChecks(start, this.reverseTopologicalPowerOrder(x))
    const remaining = [...full].filter((eventId) => !x.has(eventId))
    const resolved = this.iterativeAuthChecks(partial, this.mainlineOrder(partial.get(POWER_LEVELS), remaining))
    return new Map([...resolved, ...unconflicted])
  }

  /** "… set X of all power events that appear in the full conflicted set. For each such power event P, enlarge X …" */
  private enlarged(full: ReadonlySet<string>): Set<string> {
    const x = new Set<string>()
    for (const power of full) {
      if (!isPowerEvent(this.get(power).event)) continue
      x.add(power)
      for (const eventId of this.chainOf(power, full)) if (full.has(eventId)) x.add(eventId)
    }
    return x
  }

  private chainOf(eventId: string, full: ReadonlySet<string>): Set<string> {
    if (this.enlarging === 'whole-chain') return authChain(eventId, this.get)
    const within: NaiveEvents = (one) => {
      const { event, rejected } = this.get(one)
      return { event: { ...event, authEvents: event.authEvents.filter((authEvent) => full.has(authEvent)) }, rejected }
    }
    return authChain(eventId, within)
  }

  /** "… Kahn's algorithm …, and at each step selecting, among all the candidate vertices, the smallest vertex …" */
  private reverseTopologicalPowerOrder(x: ReadonlySet<string>): string[] {
    const order: string[] = []
    const left = new Set(x)
    while (left.size > 0) {
      const ready = [...left].filter((one) => !this.get(one).event.authEvents.some((authEvent) => left.has(authEvent)))
      const smallest = ready.reduce((a, b) => (this.comesFirst(a, b) ? a : b))
      order.push(smallest)
      left.delete(smallest)
    }
    return order
  }

  private comesFirst(a: string, b: string): boolean {
    const [left, right] = [this.senderLevel(a), this.senderLevel(b)]
    return left === right ? isEarlier(this.get(a).event, this.get(b).event) : left > right
  }

  /** "… when looking at their respective auth_events". */
  private senderLevel(eventId: string): number {
    const { event } = this.get(eventId)
    const create = this.createOf(event) ?? this.authEventAt(event, CREATE)
    if (create === undefined) return 0
    const level = powerLevels(this.rules, create, this.authEventAt(event, POWER_LEVELS)).levelOf(event.sender)
    return Number.isNaN(level) ? 0 : level
  }

  /** Since version 12 the room id names the create event. */
  private createOf({ type, roomId }: RoomEvent): RoomEvent | undefined {
    if (!this.rules.roomIdIsCreateHash || type === 'm.room.create') return undefined
    return this.get(`$${roomId.slice(1)}`).event
  }

  private authEventAt(event: RoomEvent, key: string): RoomEvent | undefined {
    return event.authEvents.map((eventId) => this.get(eventId).event).find((one) => keyOfEvent(one) === key)
  }

  private iterativeAuthChecks(start: NaiveState, events: readonly string[]): NaiveState {
    const state = new Map(start)
    for (const eventId of events) {
      const { event } = this.get(eventId)
      const instead = event.authEvents
        .filter((authEvent) => !this.get(authEvent).rejected)
        .map((authEvent) => this.get(authEvent).event)
      const lookUp = (type: string, stateKey: string): RoomEvent | undefined => {
        const found = state.get(keyOf(type, stateKey))
        if (found !== undefined) return this.get(found).event
        return instead.find((one) => keyOfEvent(one) === keyOf(type, stateKey))
      }
      if (authorize(this.rules, event, lookUp, this.createOf(event)).allowed) state.set(keyOfEvent(event), eventId)
    }
    return state
  }

  private mainlineOrder(powerLevelsId: string | undefined, events: readonly string[]): string[] {
    const mainline = powerLevelsId === undefined ? [] : [powerLevelsId, ...this.powerLevelsBefore(powerLevelsId)]
    const position = (eventId: string): number => {
      const first = this.powerLevelsBefore(eventId).find((one) => mainline.includes(one))
      return first === undefined ? Infinity : mainline.indexOf(first)
    }
    return [...events].sort((a, b) => {
      const [left, right] = [position(a), position(b)]
      if (left !== right) return left > right ? -1 : 1
      return isEarlier(this.get(a).event, this.get(b).event) ? -1 : 1
    })
  }

  /** "… e₁, …, eₘ, where eⱼ₊₁ is the m.room.power_levels event in the auth_events of eⱼ". */
  private powerLevelsBefore(eventId: string): string[] {
    const line: string[] = []
    let next = this.authEventAt(this.get(eventId).event, POWER_LEVELS)
    for (; next !== undefined; next = this.authEventAt(next, POWER_LEVELS)) line.push(next.eventId)
    return line
  }
}

/**
 * "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with type
 * m.room.member where the membership is leave or ban and the sender does not match the state_key." Only those with an empty
 * state key are levels and rules.
 */
function isPowerEvent({ type, stateKey, sender, content }: RoomEvent): boolean {
  if (type === 'm.room.power_levels' || type === 'm.room.join_rules') return stateKey === ''
  const removes = content['membership'] === 'leave' || content['membership'] === 'ban'
  return type === 'm.room.member' && removes && sender !== stateKey
}

/** By bytes of UTF-8, which is by code points. */
const isEarlier = (a: RoomEvent, b: RoomEvent): boolean =>
  a.originServerTs === b.originServerTs
    ? Buffer.compare(Buffer.from(a.eventId), Buffer.from(b.eventId)) < 0
    : a.originServerTs < b.originServerTs

class NaiveV1 {
  constructor(
    private readonly rules: RoomVersionRules,
    private readonly get: NaiveEvents,
  ) {}

  resolve(states: readonly NaiveState[]): NaiveState {
    const { unconflicted, conflicted } = separateV1(states)
    const r = new Map(unconflicted)
    const keys = new Set([...conflicted].map((eventId) => keyOfEvent(this.get(eventId).event)))
    const conflicting = (key: string) =>
      [...conflicted].map((id) => this.get(id).event).filter((event) => keyOfEvent(event) === key)
    const passes: ((key: string) => boolean)[] = [
      (key) => key === POWER_LEVELS,
      (key) => key.startsWith('["m.room.join_rules",'),
      (key) => key.startsWith('["m.room.member",'),
    ]
    for (const isOfPass of passes) {
      const outcome = [...keys]
        .filter(isOfPass)
        .map((key) => [key, this.last(conflicting(key), new Map(r)).eventId] as const)
      for (const [key, eventId] of outcome) r.set(key, eventId)
    }
    const others = [...keys]
      .filter((key) => !r.has(key))
      .map((key) => [key, this.best(conflicting(key), r).eventId] as const)
    return new Map([...r, ...others])
  }

  /** "Add the first event in the list to R. For each subsequent event in the list, … If it would not be allowed, stop". */
  private last(conflicting: readonly RoomEvent[], r: Map<string, string>): RoomEvent {
    const [first, ...others] = this.sorted(conflicting)
    let last = first!
    for (const event of others) {
      r.set(keyOfEvent(last), last.eventId)
      if (!this.isAllowed(event, r)) break
      last = event
    }
    return last
  }

  /** "… just pick the event with the highest depth and lowest sha1(event_id) that passes authentication in R". */
  private best(conflicting: readonly RoomEvent[], r: NaiveState): RoomEvent {
    const sorted = this.sorted(conflicting)
    return sorted.findLast((event) => this.isAllowed(event, r)) ?? sorted[0]!
  }

  private isAllowed(event: RoomEvent, state: NaiveState): boolean {
    const lookUp = (type: string, stateKey: string): RoomEvent | undefined => {
      const found = state.get(keyOf(type, stateKey))
      return found === undefined ? undefined : this.get(found).event
    }
    return authorize(this.rules, event, lookUp).allowed
  }

  /** "Sort the list by ascending depth then descending sha1(event_id)." */
  private sorted(events: readonly RoomEvent[]): RoomEvent[] {
    const sha1 = ({ eventId }: RoomEvent) => hash('sha1', eventId, 'hex')
    return [...events].sort((a, b) => a.depth - b.depth || (sha1(a) > sha1(b) ? -1 : 1))
  }
}
