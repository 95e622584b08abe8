/**
 * A server that follows the protocol in form only. Its events have right hashes and signatures, but stand wherever it
 * likes: on old events, on several at once, on its own rejected ones; they are of users who may not send them, and name
 * auth events that are outdated, rejected, or one too few. Everybody must judge them alike.
 */
import { authEventKeys } from '../../../src/protocol/authorization/index.js'
import { encodeBase64 } from '../../../src/protocol/base64.js'
import { referenceHash } from '../../../src/protocol/hashes.js'
import type { Json } from '../../../src/protocol/json.js'
import { roomEventOf } from '../../../src/protocol/pdu.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
import { finishEvent } from '../../../src/protocol/signing.js'
import type { Draft } from '../../../src/room/draft.js'
import { whenLoaded } from '../../../src/store/missing.js'
import { StateView } from '../../../src/store/state-view.js'
import { labServer } from '../laboratory/index.js'
import type { Random } from './random.js'
import type { Pool, SimulatedServer, WireEvent } from './simulated-server.js'

const server = labServer('rogue.example')

export class Rogue {
  readonly users = ['eve', 'ann', 'ben'].map((localpart) => server.user(localpart))
  readonly name = server.name
  private made = 0

  constructor(
    private readonly rules: RoomVersionRules,
    private readonly random: Random,
    private readonly pool: Pool,
    private readonly seed: number,
  ) {}

  /** `seenBy`: whose events it has, and whose states it looks at. */
  async make(draft: Draft, seenBy: SimulatedServer): Promise<WireEvent> {
    const known = [...seenBy.arrivals].map((eventId) => this.pool.get(eventId)!)
    const prevEvents = this.prevEvents(known)
    const authEvents = await this.authEvents(draft, prevEvents[0]!, seenBy)
    return this.finish(draft, prevEvents, authEvents)
  }

  /** An event as it should be. */
  async makeHonestly(draft: Draft, seenBy: SimulatedServer): Promise<WireEvent> {
    const prevEvents = (await seenBy.extremities()).map((eventId) => this.pool.get(eventId)!)
    return this.finish(draft, prevEvents, await this.selected(draft, prevEvents[0]!.event.eventId, seenBy))
  }

  /** Mostly of the newest; seldom of any. */
  private prevEvents(known: readonly WireEvent[]): WireEvent[] {
    const { random } = this
    const recent = known.slice(random.chance(0.8) ? -6 : 0)
    const count = random.chance(0.6) ? 1 : 1 + random.below(3)
    return [...new Set(Array.from({ length: count }, () => random.pick(recent)))]
  }

  private async authEvents(draft: Draft, { event }: WireEvent, seenBy: SimulatedServer): Promise<WireEvent[]> {
    const { random } = this
    const selected = await this.selected(draft, event.eventId, seenBy)
    if (random.chance(0.75)) return selected
    if (random.chance(0.3)) return selected.filter(() => random.chance(0.8))
    return selected.map((wire) => (random.chance(0.6) ? this.another(wire, seenBy) : wire))
  }

  private async selected(draft: Draft, eventId: string, { engine, room }: SimulatedServer): Promise<WireEvent[]> {
    const stored = (await engine.stores.events.byId(room.room, eventId))!
    const view = new StateView(engine.stores, room.room)
    const keys = authEventKeys(this.rules, { ...draft, stateKey: draft.stateKey })
    return whenLoaded(() =>
      keys.flatMap(([type, key]) => {
        const found = view.stateEvent(stored.stateAfter!, type, key)
        return found === undefined ? [] : [this.pool.get(found.event.eventId)!]
      }),
    )
  }

  /** Any event that has been at this place in the state, or tried to. */
  private another({ event }: WireEvent, { arrivals }: SimulatedServer): WireEvent {
    const others = [...arrivals]
      .map((eventId) => this.pool.get(eventId)!)
      .filter((other) => other.event.type === event.type && other.event.stateKey === event.stateKey)
    return this.random.pick(others)
  }

  private finish(draft: Draft, prevEvents: readonly WireEvent[], authEvents: readonly WireEvent[]): WireEvent {
    const { rules, random } = this
    const depth = Math.max(...prevEvents.map(({ event }) => event.depth)) + 1
    const pdu = {
      type: draft.type,
      sender: draft.sender,
      content: draft.content,
      room_id: prevEvents[0]!.event.roomId,
      depth: random.chance(0.9) ? depth : random.below(200),
      origin_server_ts: draft.originServerTs! - (random.chance(0.8) ? 0 : random.below(5_000)),
      prev_events: prevEvents.map((wire) => referenceTo(rules, wire)),
      auth_events: authEvents.map((wire) => referenceTo(rules, wire)),
      ...(draft.stateKey === undefined ? {} : { state_key: draft.stateKey }),
      ...(draft.redacts === undefined || rules.redactsInContent ? {} : { redacts: draft.redacts }),
      ...(rules.eventIdFormat === 'in-pdu' ? { event_id: `$${this.seed}-${this.made++}:${server.name}` } : {}),
    }
    const finished = finishEvent(rules, pdu, server.name, server.key)
    const wire = { event: roomEventOf(rules, finished.pdu, finished.eventId), text: finished.text }
    this.pool.set(finished.eventId, wire)
    return wire
  }
}

const referenceTo = (rules: RoomVersionRules, { event }: WireEvent): Json =>
  rules.eventReferenceFormat === 'id'
    ? event.eventId
    : [event.eventId, { sha256: encodeBase64(referenceHash(rules, event.pdu)) }]
