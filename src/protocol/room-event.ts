import type { JsonObject } from './json.js'

/**
 * An event as the rules look at it: the fields every room version has, with event and room id resolved (they are not in
 * the PDU of every version). `content` and the rest are as signed; after a redaction, as redacted.
 */
export interface RoomEvent {
  readonly eventId: string
  readonly roomId: string
  readonly type: string
  readonly sender: string
  /** `undefined` for an event that is not a state event. */
  readonly stateKey: string | undefined
  readonly content: JsonObject
  readonly originServerTs: number
  readonly depth: number
  /** Event ids, also in room versions 1 and 2, where the PDU holds pairs. */
  readonly prevEvents: readonly string[]
  readonly authEvents: readonly string[]
  /** Of a redaction: the event to redact, wherever the room version keeps it. */
  readonly redacts: string | undefined
  /** The whole PDU, with every key it came with. */
  readonly pdu: JsonObject
}
