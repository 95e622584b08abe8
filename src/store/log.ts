/**
 * The log as this process sees it: a ring of recent facts, and the position up to which they may be read.
 *
 * `published` is the newest position whose smaller ones are all committed and all here: whoever reads up to it misses
 * nothing. Facts above `horizon` are in memory; older ones are read from the tables. Readers subscribe, then read, then
 * wait, in that order.
 */
import type { Fact } from './facts.js'
import type { Position, RoomNumber } from '../protocol/numbers.js'
import { sizeOfEvent } from './memory.js'

/** Told of facts right after they can be read. `here`: this process wrote them. */
export type LogListener = (facts: readonly Fact[], origin: 'here' | 'elsewhere') => void

export class Log {
  published: Position
  /** Everything in (horizon, published] is in memory. */
  horizon: Position
  private readonly byRoom = new Map<RoomNumber, Fact[]>()
  private readonly byUser = new Map<string, Fact[]>()
  private deviceLists: Fact[] = []
  private all: Fact[] = []
  private bytes = 0
  private readonly listeners: LogListener[] = []

  constructor(
    start: Position,
    private readonly maxBytes: number,
  ) {
    this.published = start
    this.horizon = start
  }

  /** Listeners are called in the order of their subscription and must not throw or wait. */
  subscribe(listener: LogListener): () => void {
    this.listeners.push(listener)
    return () => void this.listeners.splice(this.listeners.indexOf(listener), 1)
  }

  /** Appends facts in the order of their positions and makes them readable. Only the log writer calls this. */
  publish(facts: readonly Fact[], upTo: Position, origin: 'here' | 'elsewhere'): void {
    for (const fact of facts) this.append(fact)
    this.published = upTo
    if (this.bytes > this.maxBytes) this.forgetOldest()
    for (const listener of this.listeners) listener(facts, origin)
  }

  /** Facts told to the members of a room: after < position <= published. */
  ofRoom(room: RoomNumber, after: Position): readonly Fact[] {
    return since(this.byRoom.get(room), after)
  }

  /** Facts told to one user alone. */
  ofUser(user: string, after: Position): readonly Fact[] {
    return since(this.byUser.get(user), after)
  }

  deviceListChanges(after: Position): readonly Fact[] {
    return since(this.deviceLists, after)
  }

  private append(fact: Fact): void {
    this.all.push(fact)
    this.bytes += sizeOf(fact)
    if (fact.kind === 'device-list') this.deviceLists.push(fact)
    else if (addressedToRoom(fact)) push(this.byRoom, fact.room, fact)
    else push(this.byUser, fact.user, fact)
  }

  /** Drops the older half: rare, and each drop costs what it drops. */
  private forgetOldest(): void {
    const middle = this.all[Math.floor(this.all.length / 2)]
    if (middle === undefined) return
    this.horizon = middle.position
    this.all = [...since(this.all, this.horizon)]
    this.bytes = this.all.reduce((sum, fact) => sum + sizeOf(fact), 0)
    this.deviceLists = [...since(this.deviceLists, this.horizon)]
    trim(this.byRoom, this.horizon)
    trim(this.byUser, this.horizon)
  }
}

type RoomFact = Extract<Fact, { kind: 'event' | 'state-change' | 'receipt' }>
const addressedToRoom = (fact: Fact): fact is RoomFact =>
  fact.kind === 'event' || fact.kind === 'state-change' || (fact.kind === 'receipt' && fact.type !== 'm.read.private')

function push<K>(map: Map<K, Fact[]>, key: K, fact: Fact): void {
  const facts = map.get(key)
  if (facts === undefined) map.set(key, [fact])
  else facts.push(fact)
}

function trim<K>(map: Map<K, Fact[]>, horizon: Position): void {
  for (const [key, facts] of map) {
    const kept = since(facts, horizon)
    if (kept.length === 0) map.delete(key)
    else if (kept.length < facts.length) map.set(key, [...kept])
  }
}

const nothing: readonly Fact[] = []

/** The facts after a position, by binary search: they stand in the order of their positions. */
function since(facts: readonly Fact[] | undefined, after: Position): readonly Fact[] {
  if (facts === undefined || facts.length === 0 || facts[facts.length - 1]!.position <= after) return nothing
  let low = 0
  let high = facts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (facts[middle]!.position <= after) low = middle + 1
    else high = middle
  }
  return low === 0 ? facts : facts.slice(low)
}

function sizeOf(fact: Fact): number {
  if (fact.kind === 'event') return 300 + sizeOfEvent(fact.event)
  if (fact.kind === 'account-data' || fact.kind === 'to-device') return 300 + fact.content.length * 2
  return 300
}
