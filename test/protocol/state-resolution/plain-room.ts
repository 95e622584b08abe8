/**
 * Rooms of plain events for tests of state resolution: no hashes, no signatures, and every id, time and depth as the test
 * wants it. Auth events are selected from the state the event is made in, unless given.
 */
import { authEventKeys, authorize } from '../../../src/protocol/authorization/index.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { EventNumber } from '../../../src/protocol/numbers.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import { type RoomVersionRules, rulesOf } from '../../../src/protocol/room-versions.js'
import {
  keysAskedFor,
  resolveState,
  stateMapKey,
  type ResolutionEvent,
} from '../../../src/protocol/state-resolution/index.js'
import {
  authDifference,
  conflictedSubgraph,
  keyOf,
  resolveNaively,
  separate,
  separateV1,
  type Enlarging,
  type NaiveEvent,
  type NaiveState,
} from './naive.js'

export interface PlainDraft {
  readonly type: string
  readonly stateKey?: string
  readonly content: JsonObject
  readonly sender: string
  readonly id?: string
  readonly ts?: number
  readonly depth?: number
  readonly authEvents?: readonly string[]
  readonly rejected?: boolean
}

export class PlainRoom {
  readonly rules: RoomVersionRules
  readonly #events = new Map<string, NaiveEvent>()
  #roomId = '!room:one.example'

  constructor(readonly version: string) {
    this.rules = rulesOf(version)!
  }

  get ids(): string[] {
    return [...this.#events.keys()]
  }

  /** The event that the room id names, in versions in which it names one. */
  get create(): string | undefined {
    return this.rules.roomIdIsCreateHash ? `$${this.#roomId.slice(1)}` : undefined
  }

  readonly get = (eventId: string): NaiveEvent => {
    const found = this.#events.get(eventId)
    if (found === undefined) throw new Error(`there is no event ${eventId}`)
    return found
  }

  /** The event as it would be in this state; not yet in the room. */
  draft(state: NaiveState, draft: PlainDraft): NaiveEvent {
    const count = this.#events.size
    const { type, stateKey = '', content, sender } = draft
    const eventId = draft.id ?? `$${String(count).padStart(4, '0')}`
    const roomId = type === 'm.room.create' && this.rules.roomIdIsCreateHash ? `!${eventId.slice(1)}` : this.#roomId
    const selected = authEventKeys(this.rules, { type, stateKey, sender, content })
    const authEvents =
      draft.authEvents ?? selected.map(([type, key]) => state.get(keyOf(type, key))).filter((id) => id !== undefined)
    const prevEvents = state.size < 2 ? [...state.values()] : ['$one', '$other']
    const event: RoomEvent = {
      ...{ eventId, roomId, type, sender, stateKey, content, prevEvents, authEvents, redacts: undefined, pdu: {} },
      originServerTs: draft.ts ?? count,
      depth: draft.depth ?? count,
    }
    return { event, rejected: draft.rejected ?? false }
  }

  add(made: NaiveEvent): string {
    const { eventId, type, roomId } = made.event
    if (this.#events.has(eventId)) throw new Error(`there is an event ${eventId} already`)
    if (type === 'm.room.create') this.#roomId = roomId
    this.#events.set(eventId, made)
    return eventId
  }

  /** The state after an event that need not be allowed. */
  with(state: NaiveState, draft: PlainDraft): NaiveState {
    const made = this.draft(state, draft)
    return new Map(state).set(keyOf(draft.type, draft.stateKey ?? ''), this.add(made))
  }

  isAllowed({ event }: NaiveEvent, state: NaiveState): boolean {
    const lookUp = (type: string, stateKey: string): RoomEvent | undefined => {
      const id = state.get(keyOf(type, stateKey))
      return id === undefined ? undefined : this.get(id).event
    }
    return authorize(this.rules, event, lookUp).allowed
  }

  naively(states: readonly NaiveState[], enlarging?: Enlarging): NaiveState {
    return resolveNaively(this.rules, states, this.get, enlarging)
  }

  /** What the resolver under test comes to. `numbered`: the ids in the order in which they get their numbers. */
  resolve(states: readonly NaiveState[], numbered: readonly string[] = this.ids): NaiveState {
    return new Numbered(this, numbered).resolve(states)
  }
}

/** Calls the resolver with sets from the definitions, and answers only what its contract lets it ask. */
class Numbered {
  readonly #numbers: ReadonlyMap<string, EventNumber>
  readonly #atHand = new Set<string>()

  constructor(
    private readonly room: PlainRoom,
    private readonly ids: readonly string[],
  ) {
    this.#numbers = new Map(ids.map((eventId, index) => [eventId, (index + 1) as EventNumber]))
  }

  resolve(states: readonly NaiveState[]): NaiveState {
    const { rules, get } = this.room
    const isV1 = rules.stateResolution === 'v1'
    const { unconflicted, conflicted } = (isV1 ? separateV1 : separate)(states)
    const difference = isV1 ? new Set<string>() : authDifference(states, get)
    const subgraph = rules.stateResolution === 'v2.1' ? conflictedSubgraph(conflicted, get) : new Set<string>()
    const full = new Set([...conflicted, ...difference, ...subgraph])

    const asked = keysAskedFor(
      rules,
      [...full].map((id) => get(id).event),
    )
    const known = new Map(asked.map((pair) => [stateMapKey(...pair), unconflicted.get(keyOf(...pair))]))
    const { create } = this.room
    this.#have([...full, ...known.values(), create].filter((id) => id !== undefined))
    const sets = {
      unconflicted: (type: string, stateKey: string) => {
        const key = stateMapKey(type, stateKey)
        if (!known.has(key)) throw new Error(`${type} '${stateKey}' of the unconflicted state was not to be asked for`)
        return this.#number(known.get(key))
      },
      conflicted: this.#numbersOf(conflicted),
      authDifference: new Set(this.#numbersOf(difference)),
      conflictedSubgraph: new Set(this.#numbersOf(subgraph)),
      create: this.#number(create),
    }
    const resolved = [...resolveState(rules, sets, this.#event)].map(([key, number]) => {
      const { event } = get(this.ids[number - 1]!)
      if (key !== stateMapKey(event.type, event.stateKey!)) throw new Error(`${event.eventId} is at ${key}`)
      if (unconflicted.has(keyOf(event.type, event.stateKey!))) throw new Error(`${key} is unconflicted`)
      return [keyOf(event.type, event.stateKey!), event.eventId] as const
    })
    return new Map([...unconflicted, ...resolved])
  }

  /** These, their auth events, the power levels on which those stand, and the auth events of these. */
  #have(eventIds: readonly string[]): void {
    const authEventsOf = (ids: Iterable<string>) => [...ids].flatMap((id) => this.room.get(id).event.authEvents)
    for (const id of [...eventIds, ...authEventsOf(eventIds)]) this.#atHand.add(id)
    for (const id of this.#atHand) {
      if (this.room.get(id).event.type !== 'm.room.power_levels') continue
      for (const authEvent of authEventsOf([id])) this.#atHand.add(authEvent)
    }
  }

  readonly #event = (number: EventNumber): ResolutionEvent => {
    const eventId = this.ids[number - 1]!
    if (!this.#atHand.has(eventId)) throw new Error(`${eventId} was not to be asked for`)
    const { event, rejected } = this.room.get(eventId)
    return { number, event, authEvents: this.#numbersOf(event.authEvents), rejected }
  }

  #number(eventId: string | undefined): EventNumber | undefined {
    return eventId === undefined ? undefined : this.#numbers.get(eventId)!
  }

  #numbersOf(eventIds: Iterable<string>): EventNumber[] {
    return [...eventIds].map((eventId) => this.#numbers.get(eventId)!)
  }
}
