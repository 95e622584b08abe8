import type {
  DeviceNumber,
  EventNumber,
  Position,
  RoomNumber,
  StateKeyNumber,
  StateReference,
} from '../protocol/numbers.js'
import type { RoomEvent } from '../protocol/room-event.js'

export type Fate = 'accepted' | 'soft-failed' | 'rejected'

/**
 * An event as this server holds it: what was signed, and what we know about it. One object is shared by the caches, the
 * log and all who read, so that a redaction, applied in place after its commit, reaches all of them. Beside that only the
 * log writer changes it: it fills in the position, once.
 */
export interface StoredEvent {
  readonly number: EventNumber
  readonly room: RoomNumber
  /** As signed; after a redaction, as redacted. */
  event: RoomEvent
  /** Canonical JSON of the signed PDU, or of the redacted one. */
  text: string
  readonly stateKey: StateKeyNumber | undefined
  /** undefined: an outlier, or history fetched later; not new to readers. */
  position: Position | undefined
  /** The order in the room; undefined for outliers. Live events have (position, 0). */
  anchor: Position | undefined
  minor: number
  readonly prevEvents: readonly EventNumber[]
  readonly authEvents: readonly EventNumber[]
  readonly authDepth: number
  readonly stateBefore: StateReference | undefined
  /** The state after it: that before, for whatever is not an accepted state event. */
  readonly stateAfter: StateReference | undefined
  readonly replaces: EventNumber | undefined
  /** Other servers may have to be sent it (src/federation/sender). Set before it is handed to the log writer. */
  isOutgoing?: boolean
  readonly fate: Fate
  readonly reason: string | undefined
  redactedBy: EventNumber | undefined
  /** The room's running counts of notifying and highlighting events, this one included. */
  readonly notifyCount: number
  readonly highlightCount: number
  /** The client format without its closing brace and `unsigned`: serialised once, shared by all who receive it. */
  clientText: string | undefined
  /** What the device that sent it called it; null: nothing that is known. Absent until somebody asked (client-transactions.ts). */
  sentAs?: { readonly device: DeviceNumber; readonly transactionId: string } | null
}
