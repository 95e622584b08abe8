/** One resolution: what the definitions of the specification come to, what the core asks for at hand, and the core called. */
import type { EventNumber, StateKeyNumber, StateReference } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { keysAskedFor, stateMapKey } from '../../protocol/state-resolution/index.js'
import { entriesBeside, lookUpMany } from '../../protocol/state-trie.js'
import { powerLevelsBefore, type AuthChild } from '../../store/auth-chains.js'
import { whenLoaded } from '../../store/missing.js'
import { stateKeyOf } from '../../store/state-keys.js'
import type { StateView } from '../../store/state-view.js'
import type { StoredEvent } from '../../store/stored-event.js'
import type { Stores } from '../../store/stores.js'
import { candidates, reachedFrom } from './auth-difference.js'
import { AuthGraph } from './auth-graph.js'
import { conflictedSubgraph } from './conflicted-subgraph.js'
import { conflictsOf, isConflict, type Conflicts } from './conflicts.js'
import type { EarlierWalks } from './earlier-walks.js'
import type { Budget } from './limits.js'
import type { PlainSets, ResolutionWorker } from './worker.js'

/** Events read with one statement: parsing them holds up everybody, for some 5 ms. */
const AT_A_TIME = 200
/** In which entries of all the states are looked for. */
const SOME_LEAVES = 4

export class Resolution {
  private readonly events = new Map<EventNumber, StoredEvent>()
  private readonly graph: AuthGraph

  constructor(
    private readonly stores: Stores,
    private readonly view: StateView,
    private readonly rules: RoomVersionRules,
    private readonly budget: Budget,
    private readonly worker: ResolutionWorker,
    private readonly earlier: EarlierWalks,
  ) {
    this.graph = new AuthGraph(stores, view)
  }

  /** What makes the first of the states, which all differ, the resolved state. */
  async of(states: readonly StateReference[]): Promise<[StateKeyNumber, EventNumber | undefined][]> {
    const differing = await this.budget.waitFor(conflictsOf(this.view, states))
    const conflicts = new Map([...differing].filter(([, values]) => isConflict(this.rules, values)))
    const sets = await this.setsOf(states, conflicts, differing)
    const resolved = await this.worker.resolve(this.rules, sets, this.events, this.budget.steps)
    const byKey = new Map<StateKeyNumber, EventNumber>()
    for (const number of resolved.values()) byKey.set(this.events.get(number)!.stateKey!, number)
    const changes: [StateKeyNumber, EventNumber | undefined][] = []
    for (const [key, values] of differing) {
      const after = conflicts.has(key) ? byKey.get(key) : values.find((value) => value !== undefined)
      byKey.delete(key)
      if (after !== values[0]) changes.push([key, after])
    }
    // Keys that no state has, and that come back through the auth difference.
    return [...changes, ...byKey]
  }

  private async setsOf(
    states: readonly StateReference[],
    conflicts: Conflicts,
    differing: Conflicts,
  ): Promise<PlainSets> {
    const { rules, graph, budget } = this
    const perState = states.map((_, i) => [...conflicts.values()].flatMap((values) => values[i] ?? []))
    const conflicted = new Set(perState.flat())
    budget.spend(conflicted.size)
    // They are read in any case, and bring their auth edges along.
    await this.load(conflicted)
    const authDifference =
      rules.stateResolution === 'v1' ? new Set<EventNumber>() : await candidates(graph, perState, budget)
    if (authDifference.size > 0) {
      for (const number of await this.reachedAmong(authDifference, states[0]!, differing)) authDifference.delete(number)
      for (const number of await this.inAllAmong(authDifference, states[0]!, differing)) authDifference.delete(number)
    }
    const subgraph =
      rules.stateResolution === 'v2.1' ? await conflictedSubgraph(graph, conflicted, budget) : new Set<EventNumber>()
    const full = new Set([...conflicted, ...authDifference, ...subgraph])
    await this.load(full)
    const unconflicted = await this.unconflictedOf(states[0]!, full, differing)
    await this.loadWhatAuthorises([...full, ...unconflicted.values()])
    return {
      unconflicted,
      conflicted: [...conflicted],
      authDifference,
      conflictedSubgraph: subgraph,
      // No state without it comes in (src/room/inbound/missing-state.ts), and no room has two.
      create: unconflicted.get(stateMapKey('m.room.create', '')),
    }
  }

  /** Those of the candidates that the auth chain of an entry of all the states holds. */
  private async reachedAmong(
    found: ReadonlySet<EventNumber>,
    state: StateReference,
    differing: Conflicts,
  ): Promise<ReadonlySet<EventNumber>> {
    const { graph, view, budget, earlier } = this
    const unreached = earlier.unreachedIn(view, state, differing)
    const unknown = new Set([...found].filter((number) => !unreached.has(number)))
    const entriesAmong = (events: readonly AuthChild[]) => this.entriesAmong(state, differing, events)
    const some = unknown.size === 0 ? [] : await this.someEntries(state, differing)
    const reached = await reachedFrom(graph, unknown, some, entriesAmong, budget)
    earlier.remember(view, state, differing, new Set([...found].filter((number) => !reached.has(number))))
    return reached
  }

  private async inAllAmong(
    found: ReadonlySet<EventNumber>,
    state: StateReference,
    differing: Conflicts,
  ): Promise<EventNumber[]> {
    await this.load(found)
    const events = [...found].flatMap((event) => {
      const { stateKey, authEvents } = this.events.get(event)!
      return stateKey === undefined ? [] : [{ event, stateKey, authEvents }]
    })
    return (await this.entriesAmong(state, differing, events)).map(({ event }) => event)
  }

  /** Of all the states, from the leaves in which they differ: these are at hand. */
  private async someEntries(state: StateReference, differing: Conflicts): Promise<EventNumber[]> {
    const keys = [...differing.keys()].slice(0, SOME_LEAVES)
    const found = await whenLoaded(() => this.view.run(entriesBeside(this.view.segments, state, keys)))
    return [...new Set(found.flatMap(([key, event]) => (differing.has(key) ? [] : [event])))]
  }

  /** Those of the events that are in all the states. */
  private async entriesAmong(
    state: StateReference,
    differing: Conflicts,
    events: readonly AuthChild[],
  ): Promise<readonly AuthChild[]> {
    const keys = new Set(events.map(({ stateKey }) => stateKey).filter((key) => !differing.has(key)))
    const found = await whenLoaded(() => this.view.run(lookUpMany(this.view.segments, state, keys)))
    return events.filter(({ stateKey, event }) => found.get(stateKey) === event)
  }

  /** Of the unconflicted state map what the core will ask for. */
  private async unconflictedOf(
    state: StateReference,
    full: ReadonlySet<EventNumber>,
    differing: Conflicts,
  ): Promise<Map<string, EventNumber>> {
    const events = [...full].map((number) => this.events.get(number)!)
    const own = new Map(events.map(({ event, stateKey }) => [stateKeyOf([event.type, event.stateKey ?? '']), stateKey]))
    const asked = keysAskedFor(
      this.rules,
      events.map(({ event }) => event),
    )
    const others = asked.filter((pair) => !own.has(stateKeyOf(pair)))
    const numbers = await this.budget.waitFor(this.stores.keys.find(others))
    const interned = asked.flatMap((pair) => {
      const name = stateKeyOf(pair)
      const key = own.get(name) ?? numbers.get(name)
      return key === undefined || this.isConflicted(differing, key) ? [] : [[stateMapKey(...pair), key] as const]
    })
    const keys = interned.map(([, key]) => key)
    const found = await this.budget.waitFor(
      whenLoaded(() => this.view.run(lookUpMany(this.view.segments, state, keys))),
    )
    const unconflicted = new Map<string, EventNumber>()
    for (const [name, key] of interned) {
      const only = differing.get(key)?.find((value) => value !== undefined)
      const event = only ?? found.get(key)
      if (event !== undefined) unconflicted.set(name, event)
    }
    await this.load(unconflicted.values())
    return unconflicted
  }

  private isConflicted(differing: Conflicts, key: StateKeyNumber): boolean {
    const values = differing.get(key)
    return values !== undefined && isConflict(this.rules, values)
  }

  /** The auth events, which stand in for what a state lacks, and the power levels on which power levels stand. */
  private async loadWhatAuthorises(events: readonly EventNumber[]): Promise<void> {
    await this.load(events.flatMap((number) => this.events.get(number)!.authEvents))
    const powerLevels = [...this.events.values()].filter(isPowerLevels)
    await this.load(await this.powerLevelsBefore(powerLevels))
    await this.load([...this.events.values()].filter(isPowerLevels).flatMap(({ authEvents }) => authEvents))
  }

  /** Down through what is at hand; where it ends, all that is left comes with one statement. */
  private async powerLevelsBefore(powerLevels: readonly StoredEvent[]): Promise<Set<EventNumber>> {
    const line = new Set(powerLevels.map(({ number }) => number))
    const elsewhere: EventNumber[] = []
    const open = [...powerLevels]
    for (let event = open.pop(); event !== undefined; event = open.pop()) {
      await this.budget.pause()
      for (const number of event.authEvents) {
        if (line.has(number)) continue
        const authEvent = this.view.knownEvent(number)
        if (authEvent === undefined) elsewhere.push(number)
        else if (isPowerLevels(authEvent)) {
          line.add(number)
          open.push(authEvent)
        }
      }
    }
    this.budget.spend(line.size)
    if (elsewhere.length === 0) return line
    const { left } = this.budget
    const rest = await this.budget.waitFor(powerLevelsBefore(this.stores, this.view.room, elsewhere, left + 1))
    this.budget.spend(rest.length)
    for (const number of rest) line.add(number)
    return line
  }

  private async load(numbers: Iterable<EventNumber>): Promise<void> {
    const wanted = [...new Set(numbers)].filter((number) => !this.events.has(number))
    for (let i = 0; i < wanted.length; i += AT_A_TIME) {
      const some = wanted.slice(i, i + AT_A_TIME)
      const events = whenLoaded(() => {
        this.view.haveEvents(some)
        return some.map((number) => this.view.event(number))
      })
      for (const event of await this.budget.waitFor(events)) {
        this.events.set(event.number, event)
        this.budget.spendBytes(event.text.length)
      }
    }
  }
}

const isPowerLevels = ({ event }: StoredEvent): boolean => event.type === 'm.room.power_levels'
