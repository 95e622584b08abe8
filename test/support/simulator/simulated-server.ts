/** One Hearth in one simulated room: it sends for its users, and receives what the network brings, parents first. */
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import { MatrixError } from '../../../src/protocol/matrix-error.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { Draft } from '../../../src/room/draft.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import type { RoomName } from '../../../src/store/room-names.js'

/** An event that some server made. */
export interface WireEvent {
  readonly event: RoomEvent
  readonly text: string
}

/** All events of the simulated room: what the servers' memories hold together. */
export type Pool = Map<string, WireEvent>

export class SimulatedServer {
  /** Ids of the events this server has with the state before them, in the order in which it got them. */
  readonly arrivals = new Set<string>()
  /** Local events that were refused. */
  refused = 0
  private found: RoomName | undefined

  constructor(
    readonly engine: RoomEngine,
    private readonly pool: Pool,
  ) {}

  get name(): string {
    return this.engine.rooms.deps.server.name
  }

  get room(): RoomName {
    if (this.found === undefined) throw new Error(`${this.name} is not in the room yet`)
    return this.found
  }

  user(localpart: string): string {
    return `@${localpart}:${this.name}`
  }

  has(eventId: string): boolean {
    return this.arrivals.has(eventId)
  }

  /** The room is here, made by this server or received with its create event. */
  enter(room: RoomName, events: Iterable<WireEvent>): void {
    this.found = room
    for (const wire of events) this.note(wire)
  }

  private note(wire: WireEvent): void {
    this.pool.set(wire.event.eventId, wire)
    this.arrivals.add(wire.event.eventId)
  }

  /** undefined when the rules refuse it, or when nothing would change. */
  async send(draft: Draft): Promise<WireEvent | undefined> {
    try {
      const { event, text } = await this.engine.rooms.send(this.room, draft)
      if (this.has(event.eventId)) return undefined
      const wire = { event, text }
      this.note(wire)
      return wire
    } catch (cause) {
      if (!(cause instanceof MatrixError)) throw cause
      this.refused++
      return undefined
    }
  }

  /** Takes events in this order, each after all of its ancestors that are not here, together, as inbound does. */
  async receive(...wires: readonly WireEvent[]): Promise<void> {
    const found = new Map<string, WireEvent>()
    for (const wire of wires) this.missing(wire, found)
    const taken = [...found.values()]
    const arrivals = taken.map(({ event, text }) => ({ event, text, kind: 'live' as const }))
    const results = arrivals.length === 0 ? [] : await this.engine.rooms.receiveAll(this.room, arrivals)
    for (const [index, result] of results.entries()) {
      if (result.status === 'rejected') throw result.reason
      this.note(taken[index]!)
    }
  }

  isReadyFor({ event }: WireEvent): boolean {
    return [...event.prevEvents, ...event.authEvents].every((eventId) => this.has(eventId))
  }

  /** Adds the event and those of its ancestors that are not here, parents first. */
  private missing(wire: WireEvent, found: Map<string, WireEvent>): void {
    if (this.has(wire.event.eventId) || found.has(wire.event.eventId)) return
    for (const eventId of [...wire.event.prevEvents, ...wire.event.authEvents]) {
      this.missing(this.pool.get(eventId)!, found)
    }
    found.set(wire.event.eventId, wire)
  }

  /** Whether it accepted the event, so that the room's state follows it. */
  async counts(eventId: string): Promise<boolean> {
    return (await this.engine.stores.events.byId(this.room.room, eventId))?.fate === 'accepted'
  }

  /** Ids of the forward extremities, as committed. */
  async extremities(): Promise<string[]> {
    const { extremities } = await this.engine.rooms.head(this.room)
    return extremities.map(({ event }) => event.eventId)
  }

  async content(type: string, stateKey: string): Promise<JsonObject | undefined> {
    return (await this.engine.rooms.currentState(this.room, type, stateKey))?.event.content
  }
}
