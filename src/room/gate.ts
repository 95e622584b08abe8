/**
 * The gate: may this requester see this event of this room? Every read of a room that a client makes passes here, and
 * nothing else decides it. The serialiser (client-event.ts) takes only a `VisibleEvent`, which only the gate makes, so
 * that forgetting it does not compile.
 *
 * Judged from the state before each event, once per distinct state: a page of events has few.
 * https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 */
import { historyVisibilityOf, mayRead, type VisibilityAtEvent } from '../protocol/history-visibility.js'
import { ownString } from '../protocol/json.js'
import { forbidden, notFound } from '../protocol/matrix-error.js'
import type { Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import { intervals, membershipIn, type MembershipInterval } from '../store/memberships.js'
import { whenLoaded } from '../store/missing.js'
import type { RoomName } from '../store/room-names.js'
import { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Rooms } from './rooms.js'

declare const visible: unique symbol
/** An event its requester may see. */
export type VisibleEvent = StoredEvent & { readonly [visible]: true }

export class Gate {
  constructor(
    private readonly stores: Stores,
    private readonly rooms: Rooms,
  ) {}

  /** Those of the events of a room that the user may see, in their order. Rejected and soft-failed ones nobody sees. */
  async readable(room: RoomNumber, userId: string, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    const accepted = events.filter((event) => event.fate === 'accepted' && event.stateBefore !== undefined)
    const view = new StateView(this.stores, room)
    const before = new Map<StateReference, VisibilityAtEvent>()
    for (const { stateBefore } of accepted) {
      if (before.has(stateBefore!)) continue
      before.set(stateBefore!, await whenLoaded(() => visibilityIn(view, stateBefore!, userId)))
    }
    let joins: readonly MembershipInterval[] | undefined
    const readable: VisibleEvent[] = []
    for (const event of accepted) {
      const state = before.get(event.stateBefore!)!
      let asked = false
      const now = mayRead(event.event, userId, state, () => ((asked = true), false))
      if (!now && asked) joins ??= await this.joinsOf(room, userId)
      if (now || (asked && joins!.some((join) => join.to > (event.anchor ?? Infinity))))
        readable.push(event as VisibleEvent)
    }
    return readable
  }

  /** @throws MatrixError 404 for an event that is not there, and for one the user may not see. */
  async event(name: RoomName, userId: string, eventId: string): Promise<VisibleEvent> {
    const event = await this.stores.events.byId(name.room, eventId)
    const [readable] = event === undefined ? [] : await this.readable(name.room, userId, [event])
    if (readable === undefined || (await this.hasForgotten(name, userId)))
      throw notFound('There is no such event, or you may not see it')
    return readable
  }

  /**
   * The state of the room that the user may read as a whole: the current one for who is in it and where everybody may
   * read, that at their leaving for who was. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
   *
   * @throws MatrixError 403 for who has no right to any.
   */
  async state(name: RoomName, userId: string): Promise<StateReference> {
    const until = await this.readableUntil(name, userId)
    if (until === Infinity) return (await this.rooms.head(name)).head.state
    return (await this.stateAfter(name.room, until)) ?? this.forbidden()
  }

  /** The state as of a position, if the user may read it: by what they were then, or became where history is shared. */
  async stateAt(name: RoomName, userId: string, position: number): Promise<StateReference> {
    const until = await this.readableUntil(name, userId)
    const state = await this.stateAfter(name.room, Math.min(position, until))
    if (state === undefined) return this.forbidden()
    const view = new StateView(this.stores, name.room)
    const { visibility, membership } = await whenLoaded(() => visibilityIn(view, state, userId))
    if (membership === 'join' || visibility === 'world_readable' || position >= until) return state
    const joins = visibility === 'shared' ? await this.joinsOf(name.room, userId) : []
    return joins.some((join) => join.to > position) ? state : this.forbidden()
  }

  /**
   * How far into the room the user may look: Infinity for who is in it and where everybody may read, the position of
   * their leaving for who was.
   *
   * @throws MatrixError 403 for who has no right to look at all.
   */
  async readableUntil(name: RoomName, userId: string): Promise<number> {
    const { head } = await this.rooms.head(name)
    const view = new StateView(this.stores, name.room)
    const now = await whenLoaded(() => visibilityIn(view, head.state, userId))
    if (now.membership === 'join' || now.visibility === 'world_readable') return Infinity
    const last = (await this.joinsOf(name.room, userId)).at(-1)
    return last === undefined ? this.forbidden() : last.to
  }

  private async stateAfter(room: RoomNumber, position: number): Promise<StateReference | undefined> {
    const change = await this.stores.db
      .selectFrom('state_change')
      .select('state_after')
      .where('room', '=', room)
      .where('position', '<=', position as Position)
      .orderBy('position', 'desc')
      .limit(1)
      .executeTakeFirst()
    return change?.state_after
  }

  private forbidden(): never {
    throw forbidden('You are not in this room')
  }

  /**
   * Events of a state the user may read (see `state`). Whoever may read a state may see every event in it.
   * The only way to make events visible without judging each: the caller vouches that `state` came from here, or from
   * the timeline of an event the user may see.
   */
  inReadableState(events: readonly StoredEvent[]): VisibleEvent[] {
    return events as VisibleEvent[]
  }

  /** Who forgot a room retrieves no history of it any more, unless everybody may or they come back. */
  private async hasForgotten(name: RoomName, userId: string): Promise<boolean> {
    const membership = await this.rooms.membership(name, userId)
    if (membership !== 'leave' && membership !== 'ban') return false
    const row = await membershipIn(this.stores.db, name.room, userId)
    if (row?.forgotten !== true) return false
    const visibility = await this.rooms.currentState(name, 'm.room.history_visibility', '')
    return historyVisibilityOf(visibility?.event) !== 'world_readable'
  }

  private async joinsOf(room: RoomNumber, userId: string): Promise<readonly MembershipInterval[]> {
    const all = await intervals(this.stores.db, room, userId)
    return all.filter(({ membership }) => membership === 'join')
  }
}

function visibilityIn(view: StateView, state: StateReference, userId: string): VisibilityAtEvent {
  const member = view.stateEvent(state, 'm.room.member', userId)
  return {
    visibility: historyVisibilityOf(view.stateEvent(state, 'm.room.history_visibility', '')?.event),
    membership: member && ownString(member.event.content, 'membership'),
  }
}
