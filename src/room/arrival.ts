/**
 * Events of other servers, as they are handed to a room: checked for format, signatures and hashes (checks 1 to 3 on
 * receipt of a PDU), and with all they stand on at hand. src/room/inbound brings them so far, and loads what they miss.
 */
import type { RoomEvent } from '../protocol/room-event.js'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import type { Verdict } from '../protocol/verdict.js'
import type { ClientTransaction, PartialEntrance } from '../store/log-writer.js'
import type { StoredEvent } from '../store/stored-event.js'

export interface Arrival {
  /** Redacted when its content hash did not match. */
  readonly event: RoomEvent
  /** Canonical JSON, as it is to be stored. */
  readonly text: string
  /**
   * live: new to readers if it is accepted. history: what came before events we have; it changes no current state.
   * outlier: part of a state or an auth chain; nothing is known of the state before it. entrance: the join by which this
   * server comes, or comes back, into the room: what a resident server said of the state before it is the state of the
   * room from now on, and the join its only forward extremity.
   */
  readonly kind: 'live' | 'history' | 'outlier' | 'entrance'
  /** Of history. */
  readonly place?: { readonly anchor: Position; readonly minor: number }
  /** Of an entrance: the whole state before it, as events we hold. */
  readonly stateBefore?: readonly EventNumber[]
  /** Of an entrance whose state before it lacks members. */
  readonly partial?: PartialEntrance
  /** Of an entrance: the version of the head at which nobody of ours was in the room. On another it is HeadMoved. */
  readonly onHead?: number
  /**
   * By the id of each prev event whose state after it we do not have: that state, all of it, as events we hold. Where we
   * have the state, this is not looked at.
   */
  readonly stateAfter?: ReadonlyMap<string, readonly EventNumber[]>
  /** Auth events that are proved to be of other rooms, which this one does not hold. */
  readonly ofOtherRooms?: readonly string[]
  /** What the room's policy server said, where the room has one: check 7. */
  readonly policy?: Verdict
  /** How often it was tried in vain: limits on what it may cost grow with it. */
  readonly attempts?: number
  /** The row of `staged_pdu` that is deleted in the same transaction. */
  readonly staged?: number
  /**
   * It is for this server to send it to the others in the room: its server handed it to us, by send_join and its kin, or it
   * is an event of ours that came back signed.
   */
  readonly isRelayed?: boolean
  /** Of an event of ours that came back signed. */
  readonly transaction?: ClientTransaction
  /** Of a tombstone of ours that came back signed: as in the draft it was made of. */
  readonly replacement?: RoomNumber
}

export type Received =
  | { readonly kind: 'stored'; readonly event: StoredEvent }
  /** We had it already: nothing was written, and what is staged of it is the caller's to delete. */
  | { readonly kind: 'known'; readonly event: StoredEvent }

/** An event cannot be judged yet: it names events that are not here, or whose state is not. */
export class EventsUnknown extends Error {
  override readonly name = 'EventsUnknown'
  constructor(
    readonly edge: 'auth' | 'prev',
    readonly missing: readonly string[],
  ) {
    super(`${edge} events are not here: ${missing.join(', ')}`)
  }
}

/** The room moved while the event was being written, and it has to be judged anew. */
export class HeadMoved extends Error {
  override readonly name = 'HeadMoved'
}
