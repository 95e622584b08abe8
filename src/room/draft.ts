import type { JsonObject } from '../protocol/json.js'
import type { RoomNumber } from '../protocol/numbers.js'
import type { ClientTransaction } from '../store/log-writer.js'

/** An event that a local user wants to send: what the room engine makes a PDU of. */
export interface Draft {
  readonly type: string
  readonly sender: string
  readonly content: JsonObject
  /** Given for state events. */
  readonly stateKey?: string
  /** Given for redactions: the event to redact. */
  readonly redacts?: string
  readonly transaction?: ClientTransaction
  readonly originServerTs?: number
  /** Given for the tombstone of an upgrade: the room to which the aliases, and the place in the directory, go with it. */
  readonly replacement?: RoomNumber
}
