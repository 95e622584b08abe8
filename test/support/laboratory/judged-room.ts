/**
 * A room as the specification describes it, at any cost: of each event the whole state before and after it as a map,
 * resolved by the naive resolver, and the verdict of checks 4 and 5. It is what tests hold the engine against, and where
 * the builder finds the state that auth events are selected from.
 *
 * Events are added parents first. Check 6, soft failure, depends on the order in which a server hears of events and is
 * not here.
 */
import { authorize, checkAuthEvents } from '../../../src/protocol/authorization/index.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { type Verdict, allow } from '../../../src/protocol/verdict.js'
import { resolveNaively } from '../../protocol/state-resolution/naive.js'

/** Event ids by `keyOf(type, stateKey)`. */
export type LabState = ReadonlyMap<string, string>

export const keyOf = (type: string, stateKey: string): string => JSON.stringify([type, stateKey])

export interface LabEvent {
  readonly event: RoomEvent
  readonly eventId: string
  /** Canonical JSON of the signed PDU. */
  readonly text: string
  readonly verdict: Verdict
  readonly stateBefore: LabState
  readonly stateAfter: LabState
}

const emptyState: LabState = new Map()

export class JudgedRoom {
  private readonly events = new Map<string, LabEvent>()
  /** Events that nobody has any more; of each, the state after it that a peer tells, true or not. */
  private readonly lost = new Map<string, LabState>()

  constructor(readonly rules: RoomVersionRules) {}

  /** In the order in which they were added. */
  get all(): readonly LabEvent[] {
    return [...this.events.values()]
  }

  find(eventId: string): LabEvent | undefined {
    return this.events.get(eventId)
  }

  get(eventId: string): LabEvent {
    const event = this.events.get(eventId)
    if (event === undefined) throw new Error(`${eventId} is not in the room`)
    return event
  }

  /** The event is not to be had, and this is what is told of the state after it. */
  lose(eventId: string, stateAfter: LabState): void {
    this.lost.set(eventId, stateAfter)
  }

  get lostEvents(): ReadonlyMap<string, LabState> {
    return this.lost
  }

  /** Judges an event whose prev and auth events are here. One that is here already is left as it is. */
  add(event: RoomEvent, text: string): LabEvent {
    const known = this.events.get(event.eventId)
    if (known !== undefined) return known
    const stateBefore = this.stateAfter(event.prevEvents)
    const verdict = this.judge(event, stateBefore)
    const isChange = verdict.allowed && event.stateKey !== undefined
    const stateAfter = isChange
      ? new Map(stateBefore).set(keyOf(event.type, event.stateKey), event.eventId)
      : stateBefore
    const judged = { event, eventId: event.eventId, text, verdict, stateBefore, stateAfter }
    this.events.set(event.eventId, judged)
    return judged
  }

  /** The resolution of the states after these events. */
  stateAfter(eventIds: readonly string[]): LabState {
    const states = eventIds.map((eventId) => this.lost.get(eventId) ?? this.get(eventId).stateAfter)
    const [first, ...others] = states
    if (first === undefined) return emptyState
    if (others.every((other) => areEqual(first, other))) return first
    return this.resolve(states)
  }

  private resolve(states: readonly LabState[]): LabState {
    return resolveNaively(this.rules, states, (eventId) => {
      const { event, verdict } = this.get(eventId)
      return { event, rejected: !verdict.allowed }
    })
  }

  private judge(event: RoomEvent, stateBefore: LabState): Verdict {
    const authEvents = event.authEvents.map((eventId) => this.get(eventId))
    const isRejected = ({ eventId }: RoomEvent) => !this.get(eventId).verdict.allowed
    const checks = [
      () =>
        checkAuthEvents(
          this.rules,
          event,
          authEvents.map((auth) => auth.event),
          isRejected,
        ),
      () => this.authorize(event, new Map(authEvents.map((auth) => [stateKeyOf(auth.event), auth.eventId]))),
      () => this.authorize(event, stateBefore),
    ]
    for (const check of checks) {
      const verdict = check()
      if (!verdict.allowed) return verdict
    }
    return allow
  }

  authorize(event: RoomEvent, state: LabState): Verdict {
    const lookUp = (type: string, stateKey: string) => this.events.get(state.get(keyOf(type, stateKey)) ?? '')?.event
    return authorize(this.rules, event, lookUp, this.create(event), () => undefined)
  }

  private create({ roomId }: RoomEvent): RoomEvent | undefined {
    if (this.rules.roomIdIsCreateHash) return this.events.get(`$${roomId.slice(1)}`)?.event
    return this.all.find(({ event }) => event.type === 'm.room.create')?.event
  }

  /** The accepted events without accepted descendants among these, counted through rejected ones. */
  extremities(): readonly LabEvent[] {
    const covered = new Set<string>()
    const cover = (eventIds: readonly string[]): void => {
      for (const eventId of eventIds) {
        if (covered.has(eventId) || this.lost.has(eventId)) continue
        covered.add(eventId)
        const { verdict, event } = this.get(eventId)
        if (!verdict.allowed) cover(event.prevEvents)
      }
    }
    for (const { verdict, event } of this.events.values()) if (verdict.allowed) cover(event.prevEvents)
    return this.all.filter(({ verdict, eventId }) => verdict.allowed && !covered.has(eventId))
  }
}

const stateKeyOf = ({ type, stateKey }: RoomEvent): string => keyOf(type, stateKey ?? '')

export const areEqual = (left: LabState, right: LabState): boolean =>
  left === right || (left.size === right.size && [...left].every(([key, eventId]) => right.get(key) === eventId))
