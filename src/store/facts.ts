import type { DeviceNumber, EventNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import type { StoredEvent } from './stored-event.js'

/**
 * What the log is made of: the durable facts that a client or a peer has to hear of. Each has one position; facts that
 * are one event's doing (its change of current state, the membership it makes, whom it highlights) share its position.
 *
 * A fact is addressed to the members of a room (`room`), to one local user (`user`), or to whoever shares a room with a
 * user (a device list).
 */
export type Fact =
  | EventFact
  | StateChangeFact
  | MembershipFact
  | HighlightFact
  | ReceiptFact
  | AccountDataFact
  | ToDeviceFact
  | DeviceListFact

export interface EventFact {
  readonly kind: 'event'
  readonly position: Position
  readonly room: RoomNumber
  readonly event: StoredEvent
}

/** Current state of a room went from one state to another. `cause` is the event after which it did. */
export interface StateChangeFact {
  readonly kind: 'state-change'
  readonly position: Position
  readonly room: RoomNumber
  readonly before: StateReference
  readonly after: StateReference
  readonly cause: EventNumber
  /** The state before lacked members; what was judged on such states was judged again. */
  readonly completes?: true
}

export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock'

/** The membership of a user in a room became another. Told to the user; the room learns it from the event. */
export interface MembershipFact {
  readonly kind: 'membership'
  readonly position: Position
  readonly room: RoomNumber
  readonly user: string
  readonly membership: Membership
  readonly event: EventNumber | undefined
  readonly sender: string
  /**
   * A JSON array: what a user who is not in the room is told of it with an invite or a knock, or, where we do not hold the
   * room, with the end of one.
   */
  readonly strippedState: string | undefined
  /** Of an invite to, or a knock on, a room that we do not hold. */
  readonly unheldEventId?: string
}

export interface HighlightFact {
  readonly kind: 'highlight'
  readonly position: Position
  readonly room: RoomNumber
  readonly user: string
  readonly event: EventNumber
}

/** `m.read.private` is told to its own user only. */
export interface ReceiptFact {
  readonly kind: 'receipt'
  readonly position: Position
  readonly room: RoomNumber
  readonly user: string
  readonly type: string
  /** '' for an unthreaded receipt. */
  readonly threadId: string
  readonly eventId: string
  readonly event: EventNumber
  readonly ts: number
  readonly notifyCount: number
  readonly highlightCount: number
}

export interface AccountDataFact {
  readonly kind: 'account-data'
  readonly position: Position
  /** 0 for global account data. */
  readonly room: RoomNumber | 0
  readonly user: string
  readonly type: string
  /** The JSON object as text, as the client sent it. */
  readonly content: string
}

export interface ToDeviceFact {
  readonly kind: 'to-device'
  readonly position: Position
  readonly user: string
  readonly device: DeviceNumber
  readonly sender: string
  readonly type: string
  readonly content: string
}

/** The devices of a user, or their keys, changed. */
export interface DeviceListFact {
  readonly kind: 'device-list'
  readonly position: Position
  readonly user: string
}

type WithoutPosition<F> = F extends Fact ? Omit<F, 'position'> : never
/** A fact that has no position yet: what is handed to the log writer. Facts of rooms come with their events. */
export type NewFact = WithoutPosition<ReceiptFact | AccountDataFact | ToDeviceFact | DeviceListFact>
/** Of a room that we do not hold: other memberships come with the events of their room. */
export type NewMembership = Omit<MembershipFact, 'kind' | 'position' | 'event'>
