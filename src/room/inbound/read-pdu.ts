/** Check 1 on receipt of a PDU: is it an event of its room version at all? Synchronous, and asks nobody. */
import { canonicalJson, CanonicalJsonError } from '../../protocol/canonical-json.js'
import { eventIdOfEssential } from '../../protocol/event-id.js'
import { numbersOf, signedText } from '../../protocol/hashes.js'
import { isObject, ownString, type JsonObject } from '../../protocol/json.js'
import { checkPduShape, checkSize, MAX_EVENT_BYTES, roomEventOf } from '../../protocol/pdu.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { JsonError, parseExactJson } from '../../protocol/strict-json.js'
import type { DropReason } from './counters.js'
import type { PduText } from './peers.js'

export interface Pdu {
  readonly event: RoomEvent
  /** Canonical JSON of it, without `unsigned`. */
  readonly text: string
  /** What its signatures cover. */
  readonly essential: string
}

export interface Dropped {
  readonly dropped: DropReason
  readonly why: string
}

export const drop = (reason: DropReason, why: string = reason): Dropped => ({ dropped: reason, why })
export const isDropped = (result: object): result is Dropped => 'dropped' in result

/** JSON as written may be longer than as canonical, by spaces and escapes. What is longer than this is not looked at. */
const MAX_TEXT = 6 * MAX_EVENT_BYTES

export function parsePdu(text: PduText): { readonly value: JsonObject } | Dropped {
  if (text.length > MAX_TEXT) return drop('format', 'far too large')
  try {
    const value = parseExactJson(text)
    return isObject(value) ? { value } : drop('format', 'not an object')
  } catch (cause) {
    if (cause instanceof JsonError) return drop('format', cause.message)
    throw cause
  }
}

/** `roomId`: the room it has to be of, wherever it came from. */
export function readPdu(rules: RoomVersionRules, roomId: string, value: JsonObject): Pdu | Dropped {
  const verdict = checkPduShape(rules, value)
  if (!verdict.allowed) return drop('format', verdict.reason)
  const { unsigned = {}, ...signed } = value
  try {
    canonicalJson({ unsigned }, numbersOf(rules)) // is not kept, but has to have a canonical form, too
    return pduOf(rules, roomId, signed as JsonObject)
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return drop('format', cause.message)
    throw cause
  }
}

function pduOf(rules: RoomVersionRules, roomId: string, signed: JsonObject): Pdu | Dropped {
  const text = canonicalJson(signed, numbersOf(rules))
  const size = checkSize(text)
  if (!size.allowed) return drop('format', size.reason)
  const essential = signedText(rules, signed)
  const event = roomEventOf(rules, signed, idOf(rules, signed, essential))
  if (event.roomId !== roomId) return drop('other room', 'it is of another room')
  return namesItself(event) ? drop('cycle', 'it names itself as an ancestor') : { event, text, essential }
}

/** As `eventIdOf`, of a text that is at hand. */
const idOf = (rules: RoomVersionRules, signed: JsonObject, essential: string): string =>
  rules.eventIdFormat === 'in-pdu' ? ownString(signed, 'event_id')! : eventIdOfEssential(rules, essential)

/** Ids of versions 1 and 2 are free: only there can one. */
const namesItself = ({ eventId, prevEvents, authEvents }: RoomEvent): boolean =>
  prevEvents.includes(eventId) || authEvents.includes(eventId)
