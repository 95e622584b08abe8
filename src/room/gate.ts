/**
 * The gate: may this reader see this event of this room? Every read of a room that a client or a server makes passes
 * here, and nothing else decides it. The serialiser (client-event.ts) takes only a `VisibleEvent`, which only the gate
 * makes, so that forgetting it does not compile.
 *
 * Judged from the state before each event, once per distinct state: a page of events has few. An event whose state is not
 * known (an outlier) is shown to nobody. https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 */
import { historyVisibilityOf, readabilityOfEvent, type VisibilityAtEvent } from '../protocol/history-visibility.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { ownString } from '../protocol/json.js'
import { forbidden, notFound } from '../protocol/matrix-error.js'
import { redactedEvent } from '../protocol/pdu.js'
import type { EventNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import { emptyState, entries, lookUpMany } from '../protocol/state-trie.js'
import { joins, membershipIn, type Whose } from '../store/memberships.js'
import { whenLoaded } from '../store/missing.js'
import type { RoomName } from '../store/room-names.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'
import { ServerMemberships } from './server-memberships.js'

declare const visible: unique symbol
/** An event its reader may see. */
export type VisibleEvent = StoredEvent & { readonly [visible]: true }

/** A guest is read for like a user: what guests may join and do is decided where they do it. */
export type Reader =
  { readonly kind: 'user' | 'guest'; readonly userId: string } | { readonly kind: 'server'; readonly server: string }

export const userReader = ({ userId }: { readonly userId: string }): Reader => ({ kind: 'user', userId })

/** What of the state before an event says who may read it, for one reader. */
type Judge = (state: StateReference) => Promise<VisibilityAtEvent>

export class Gate {
  constructor(
    private readonly stores: Stores,
    private readonly rooms: Rooms,
  ) {}

  /** Other servers read a room when all its members are known here. @throws MatrixError 503 when they have not come in time. */
  async requireWhole(name: RoomName, patience: number): Promise<void> {
    await this.rooms.requireWhole(name, patience)
  }

  /** Those of the events of a room that the reader may see, in their order. */
  async readable(name: RoomName, reader: Reader, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    const shown = events.filter((event) => isShown(event, reader))
    if (shown.length === 0) return []
    const isStranger = await this.hasForgotten(name, reader)
    const before = await this.judged(shown, this.judgeOf(name, reader, isStranger))
    const isOwn = (userId: string) => !isStranger && isMemberOf(reader, userId)
    const readable: VisibleEvent[] = []
    let joined: readonly { readonly to: number }[] | undefined
    for (const event of shown) {
      const readability = readabilityOfEvent(event.event, isOwn, before.get(event.stateBefore!)!)
      if (readability === 'if-joined-later' && !isStranger) joined ??= await this.joinsOf(name.room, reader)
      if (
        readability === 'always' ||
        (readability === 'if-joined-later' && joined?.some((join) => outlasts(join, event)))
      )
        readable.push(event as VisibleEvent)
    }
    return readable
  }

  /**
   * Events for a server that is in the room, as the texts it gets: what it may not see is there as redacted, since it needs
   * the edges of the graph all the same. Rejected events are left out. Whether the server is in the room is for the caller
   * to ask.
   */
  async pdus(name: KnownRoom, server: string, events: readonly StoredEvent[]): Promise<string[]> {
    const readable = await this.readableInRoom(name, server, events)
    return events
      .filter(({ fate }) => fate !== 'rejected')
      .map((event) => (readable.has(event) ? event.text : redactedEvent(name.rules, event.event).text))
  }

  /**
   * What of the state before an event, and of its auth chain, a server that is in the room gets as it was signed, and not
   * as redacted: all, if it may see the event.
   */
  async signedInStateOf(name: KnownRoom, server: string, event: StoredEvent): Promise<(event: EventNumber) => boolean> {
    if ((await this.readableInRoom(name, server, [event])).size === 1) return () => true
    const { head } = await this.rooms.head(name)
    const current = await this.stores.states.work(name.room, (segments) => entries(segments, head.state))
    const numbers = new Set(current.map(([, number]) => number))
    return (number) => numbers.has(number)
  }

  /** @throws MatrixError 404 for an event that is not there, and for one the reader may not see. */
  async event(name: RoomName, reader: Reader, eventId: string): Promise<VisibleEvent> {
    const event = await this.stores.events.byId(name.room, eventId)
    const [readable] = event === undefined ? [] : await this.readable(name, reader, [event])
    if (readable === undefined) throw notFound('There is no such event, or you may not see it')
    return readable
  }

  /**
   * The state of the room that the reader may read as a whole: the current one for who is in it and where everybody may
   * read, that at their leaving for who was. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
   *
   * @throws MatrixError 403 for who has no right to any.
   */
  async state(name: RoomName, reader: Reader): Promise<StateReference> {
    const { until, current } = await this.extent(name, reader)
    return until === Infinity ? current : this.stateAfter(name.room, until)
  }

  /** The state as of a position, if the reader may read it: by what they were then, or became where history is shared. */
  async stateAt(name: RoomName, reader: Reader, position: number): Promise<StateReference> {
    const { until } = await this.extent(name, reader)
    const state = await this.stateAfter(name.room, Math.min(position, until))
    const { visibility, membership } = await this.judgeOf(name, reader, await this.hasForgotten(name, reader))(state)
    if (membership === 'join' || visibility === 'world_readable' || position >= until) return state
    const joined = visibility === 'shared' ? await this.joinsOf(name.room, reader) : []
    return joined.some((join) => join.to > position) ? state : this.forbidden()
  }

  /**
   * How far into the room the reader may look: Infinity for who is in it and where everybody may read, the position of
   * their leaving for who was.
   *
   * @throws MatrixError 403 for who has no right to look at all.
   */
  async readableUntil(name: RoomName, reader: Reader): Promise<number> {
    return (await this.extent(name, reader)).until
  }

  /**
   * Events of a state the reader may read (see `state`). Whoever may read a state may see every event in it, also one that
   * was soft-failed and came into it by a later resolution. The only way to make events visible without judging each: the
   * caller vouches that the state came from here, or from the timeline of an event the reader may see.
   */
  inReadableState(events: readonly StoredEvent[]): VisibleEvent[] {
    return events as VisibleEvent[]
  }

  /** Beside what the server may see as a reader: the current state, which whoever is in a room reads as a whole. */
  private async readableInRoom(
    name: RoomName,
    server: string,
    events: readonly StoredEvent[],
  ): Promise<ReadonlySet<StoredEvent>> {
    const readable = new Set<StoredEvent>(await this.readable(name, { kind: 'server', server }, events))
    const hidden = events.filter((event) => event.stateKey !== undefined && !readable.has(event))
    if (hidden.length === 0) return readable
    const { head } = await this.rooms.head(name)
    const keys = hidden.map(({ stateKey }) => stateKey!)
    const current = await this.stores.states.work(name.room, (segments) => lookUpMany(segments, head.state, keys))
    for (const event of hidden) if (current.get(event.stateKey!) === event.number) readable.add(event)
    return readable
  }

  private async extent(name: RoomName, reader: Reader): Promise<{ until: number; current: StateReference }> {
    const { head } = await this.rooms.head(name)
    const now = await this.judgeOf(name, reader, false)(head.state)
    if (now.membership === 'join' || now.visibility === 'world_readable')
      return { until: Infinity, current: head.state }
    const last = (await this.joinsOf(name.room, reader)).at(-1)
    return { until: last === undefined ? this.forbidden() : last.to, current: head.state }
  }

  private async judged(
    events: readonly StoredEvent[],
    judge: Judge,
  ): Promise<ReadonlyMap<StateReference, VisibilityAtEvent>> {
    const before = new Map<StateReference, VisibilityAtEvent>()
    for (const { stateBefore } of events) {
      if (!before.has(stateBefore!)) before.set(stateBefore!, await judge(stateBefore!))
    }
    return before
  }

  private judgeOf({ room }: RoomName, reader: Reader, isStranger: boolean): Judge {
    const view = new StateView(this.stores, room)
    const visibilityIn = (state: StateReference) =>
      historyVisibilityOf(view.stateEvent(state, 'm.room.history_visibility', '')?.event)
    if (reader.kind === 'server') {
      const memberships = new ServerMemberships(this.stores, view, reader.server)
      return async (state) => {
        const visibility = await whenLoaded(() => visibilityIn(state))
        return { visibility, membership: visibility === 'world_readable' ? undefined : await memberships.in(state) }
      }
    }
    return (state) =>
      whenLoaded(() => {
        const member = isStranger ? undefined : view.stateEvent(state, 'm.room.member', reader.userId)
        return { visibility: visibilityIn(state), membership: member && ownString(member.event.content, 'membership') }
      })
  }

  private async stateAfter(room: RoomNumber, position: number): Promise<StateReference> {
    const change = await this.stores.db
      .selectFrom('state_change')
      .select('state_after')
      .where('room', '=', room)
      .where('position', '<=', position as Position)
      .orderBy('position', 'desc')
      .limit(1)
      .executeTakeFirst()
    return change?.state_after ?? emptyState
  }

  private forbidden(): never {
    throw forbidden('You are not in this room')
  }

  /** Who forgot a room has, until they come back, no more right to it than who never was in it. */
  private async hasForgotten(name: RoomName, reader: Reader): Promise<boolean> {
    if (reader.kind === 'server') return false
    const membership = await this.rooms.membership(name, reader.userId)
    if (membership !== 'leave' && membership !== 'ban') return false
    return (await membershipIn(this.stores.db, name.room, reader.userId))?.forgotten === true
  }

  private joinsOf(room: RoomNumber, reader: Reader): Promise<readonly { readonly to: number }[]> {
    const whose: Whose = reader.kind === 'server' ? { server: reader.server } : { user: reader.userId }
    return joins(this.stores.db, room, whose)
  }
}

/**
 * Rejected events are shown to nobody, soft-failed ones to no client: "A soft failed event should be returned in response
 * to federation requests where appropriate".
 */
const isShown = ({ fate, stateBefore }: StoredEvent, { kind }: Reader): boolean =>
  stateBefore !== undefined && (fate === 'accepted' || (fate === 'soft-failed' && kind === 'server'))

/** Numbers as they were signed: versions 1 to 5 have more of them. */
const isMemberOf = (reader: Reader, userId: string): boolean =>
  reader.kind === 'server' ? serverNameOf(userId) === reader.server : userId === reader.userId

/**
 * Whether a join lasted until after the event. History at an anchor came before the event that has this position; without
 * a place an event came before everything that is known.
 */
const outlasts = ({ to }: { readonly to: number }, { anchor, minor }: StoredEvent): boolean =>
  anchor === undefined || to > anchor || (minor < 0 && to === anchor)
