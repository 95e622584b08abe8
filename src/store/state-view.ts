/**
 * Synchronous looks into the states of one room. A look at what is not in memory throws `Missing`; what that loads is
 * held by the view until it is thrown away, so that a small cache makes work slower and never stuck.
 */
import type { EventNumber, RoomNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import { lookUp, lookUpMany, type Segments, type TrieWork } from '../protocol/state-trie.js'
import { Missing } from './missing.js'
import { stateKeyOf } from './state-keys.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

const MOST_LOOKED_UP = 32

export class StateView {
  private readonly heldSegments = new Map<number, Uint8Array>()
  private readonly heldEvents = new Map<EventNumber, StoredEvent>()
  private readonly heldKeys = new Map<string, StateKeyNumber | undefined>()
  private readonly heldStateKeys = new Map<EventNumber, StateKeyNumber>()
  /** What one state, `lookedIn`, has at the keys that were asked for last: messages ask for the same few in the same one. */
  private lookedUp: Map<StateKeyNumber, EventNumber | undefined> | undefined
  private lookedIn: StateReference | undefined
  /** What looks read: the uncommitted, then the loaded. */
  readonly segments: Segments
  /** Segments of the database that are at hand. */
  readonly loaded: Segments

  /** `uncommitted` answers for what is not in the database yet. */
  constructor(
    private readonly stores: Stores,
    readonly room: RoomNumber,
    private readonly uncommitted?: {
      segment(segment: number): Uint8Array | undefined
      event(number: EventNumber): StoredEvent | undefined
      events(): readonly StoredEvent[]
    },
  ) {
    const committed = stores.states.segments(room)
    const { identityKey } = committed
    this.loaded = { identityKey, get: (segment) => this.heldSegments.get(segment) ?? committed.get(segment) }
    this.segments = {
      identityKey,
      get: (segment) => uncommitted?.segment(segment) ?? this.loaded.get(segment),
    }
  }

  /** To be called when references to states that are not in the database yet may come to mean others. */
  forgetUncommitted(): void {
    this.lookedIn = undefined
  }

  /** Lets go of what was loaded for the work that is done. */
  release(): void {
    if (this.heldSegments.size > 0) this.heldSegments.clear()
    if (this.heldEvents.size > 0) this.heldEvents.clear()
    if (this.heldKeys.size > 0) this.heldKeys.clear()
    if (this.heldStateKeys.size > 0) this.heldStateKeys.clear()
  }

  /** The event of a state at a key. */
  stateEvent(state: StateReference, type: string, key: string): StoredEvent | undefined {
    const number = this.eventNumber(state, type, key)
    return number === undefined ? undefined : this.event(number)
  }

  /** Makes sure that what a state has at these keys is at hand, with one statement a level of it for all of them. */
  haveStateEvents(state: StateReference, keys: readonly (readonly [type: string, key: string])[]): void {
    const interned = keys.flatMap(([type, key]) => this.key(type, key) ?? [])
    this.haveEvents([...this.run(lookUpMany(this.segments, state, interned)).values()])
  }

  eventNumber(state: StateReference, type: string, key: string): EventNumber | undefined {
    const interned = this.key(type, key)
    if (interned === undefined) return undefined
    if (this.lookedUp === undefined || this.lookedIn !== state || this.lookedUp.size === MOST_LOOKED_UP) {
      this.lookedUp = new Map()
      this.lookedIn = state
    }
    const known = this.lookedUp.get(interned)
    if (known !== undefined || this.lookedUp.has(interned)) return known
    const number = this.run(lookUp(this.segments, state, interned))
    this.lookedUp.set(interned, number)
    return number
  }

  /** The result of trie work, all of whose segments must be at hand. */
  run<T>(work: TrieWork<T>): T {
    const step = work.next()
    if (step.done === true) return step.value
    throw new Missing(() => this.stores.states.load(this.room, step.value, this.heldSegments))
  }

  /** undefined: no event ever had this key when it was looked up. */
  key(type: string, key: string): StateKeyNumber | undefined {
    const known = this.stores.keys.known(type, key)
    if (known !== undefined) return known
    const name = stateKeyOf([type, key])
    if (this.heldKeys.has(name)) return this.heldKeys.get(name)
    throw new Missing(async () => {
      const found = await this.stores.keys.find([[type, key]])
      this.heldKeys.set(name, found.get(name))
    })
  }

  /** Makes sure that events are at hand for `event`, with one statement for all that are not; but for one that is being made. */
  haveEvents(numbers: readonly EventNumber[], but?: EventNumber): void {
    const missing = numbers.filter((number) => number !== but && this.knownEvent(number) === undefined)
    if (missing.length === 0) return
    throw new Missing(async () => {
      for (const [number, event] of await this.stores.events.events(this.room, missing))
        this.heldEvents.set(number, event)
    })
  }

  event(number: EventNumber): StoredEvent {
    const event = this.knownEvent(number)
    if (event !== undefined) return event
    throw new Missing(async () => {
      const loaded = (await this.stores.events.events(this.room, [number])).get(number)
      if (loaded === undefined) throw new Error(`event ${number} of room ${this.room} is not there`)
      this.heldEvents.set(number, loaded)
    })
  }

  /** The key of a state event, when it is at hand. */
  stateKeyOf(number: EventNumber): StateKeyNumber | undefined {
    return this.heldStateKeys.get(number) ?? this.knownEvent(number)?.stateKey
  }

  holdStateKey(number: EventNumber, key: StateKeyNumber): void {
    this.heldStateKeys.set(number, key)
  }

  /** Events that no table holds yet. */
  uncommittedEvents(): readonly StoredEvent[] {
    return this.uncommitted?.events() ?? []
  }

  /** The event, when it is at hand. */
  knownEvent(number: EventNumber): StoredEvent | undefined {
    return this.uncommitted?.event(number) ?? this.stores.events.known(number) ?? this.heldEvents.get(number)
  }
}
