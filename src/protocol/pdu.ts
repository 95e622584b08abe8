import { CanonicalJsonError, canonicalJson } from './canonical-json.js'
import { eventIdOf, roomIdOf } from './event-id.js'
import { numbersOf } from './hashes.js'
import {
  fitsId,
  isEventIdHash,
  isEventIdWithServer,
  isRoomIdHash,
  isRoomIdWithServer,
  isUserId,
} from './identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from './json.js'
import type { RoomEvent } from './room-event.js'
import type { RoomVersionRules } from './room-versions.js'
import { allow, reject, type Verdict } from './verdict.js'

/**
 * The first check on a PDU: whether it is an event of its room version at all. One that is not is dropped, as if it had
 * never come. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */

/** Of an event in the federation format, signatures included, as canonical JSON in UTF-8. */
export const MAX_EVENT_BYTES = 65_536
export const MAX_AUTH_EVENTS = 10
export const MAX_PREV_EVENTS = 20

/** `text` is the canonical JSON of the whole PDU. */
export const checkSize = (text: string): Verdict =>
  text.length * 3 <= MAX_EVENT_BYTES || Buffer.byteLength(text) <= MAX_EVENT_BYTES
    ? allow
    : reject(`larger than ${MAX_EVENT_BYTES} bytes`)

/**
 * Types, required keys and limits, nothing about meaning. That numbers were written canonically cannot be seen in a
 * parsed value; for versions that are strict about it the caller looks at `nonCanonicalNumber` of `parseJson` as well.
 */
export function checkPduFormat(rules: RoomVersionRules, pdu: JsonObject): Verdict {
  const problem =
    problemOfIds(rules, pdu) ??
    problemOfFields(rules, pdu) ??
    problemOfReferences(rules, pdu, 'auth_events', MAX_AUTH_EVENTS) ??
    problemOfReferences(rules, pdu, 'prev_events', MAX_PREV_EVENTS) ??
    problemOfHashes(pdu) ??
    problemOfSignatures(pdu) ??
    problemOfJson(rules, pdu)
  return problem === undefined ? allow : reject(problem)
}

function problemOfIds(rules: RoomVersionRules, pdu: JsonObject): string | undefined {
  if (!isUserId(ownString(pdu, 'sender') ?? '')) return 'sender is not a user id'
  if (!isRoomIdOf(rules, pdu)) return 'room_id is not a room id of this room version'
  const namesItself = rules.eventIdFormat === 'in-pdu'
  if (namesItself && !isEventIdWithServer(ownString(pdu, 'event_id') ?? '')) return 'event_id is not an event id'
  return undefined
}

/** From version 12 on `m.room.create` has none. One that has a room id in the right form is rejected by rule 1.2, not here. */
function isRoomIdOf(rules: RoomVersionRules, pdu: JsonObject): boolean {
  const roomId = own(pdu, 'room_id')
  if (roomId === undefined) return rules.roomIdIsCreateHash && ownString(pdu, 'type') === 'm.room.create'
  if (typeof roomId !== 'string') return false
  return rules.roomIdIsCreateHash ? isRoomIdHash(roomId) : isRoomIdWithServer(roomId)
}

function problemOfFields(rules: RoomVersionRules, pdu: JsonObject): string | undefined {
  const type = own(pdu, 'type')
  if (typeof type !== 'string' || !fitsId(type)) return 'type is not a string of at most 255 bytes'
  const stateKey = own(pdu, 'state_key')
  if (stateKey !== undefined && (typeof stateKey !== 'string' || !fitsId(stateKey))) {
    return 'state_key is not a string of at most 255 bytes'
  }
  if (!isObject(own(pdu, 'content'))) return 'content is not an object'
  if (!Number.isInteger(own(pdu, 'origin_server_ts'))) return 'origin_server_ts is not an integer'
  if (!isDepth(rules, own(pdu, 'depth'))) return 'depth is not an integer within its limits'
  if (!isObject(own(pdu, 'unsigned') ?? {})) return 'unsigned is not an object'
  return undefined
}

const isDepth = (rules: RoomVersionRules, depth: Json | undefined): boolean =>
  typeof depth === 'number' && Number.isInteger(depth) && depth >= 0 && depth <= rules.maxDepth

function problemOfReferences(
  rules: RoomVersionRules,
  pdu: JsonObject,
  key: 'auth_events' | 'prev_events',
  most: number,
): string | undefined {
  const references = own(pdu, key)
  if (!Array.isArray(references)) return `${key} is not an array`
  if (references.length > most) return `${key} has more than ${most} entries`
  if (!references.every((reference) => isReference(rules, reference as Json)))
    return `${key} holds something else than events`
  return undefined
}

function isReference(rules: RoomVersionRules, reference: Json): boolean {
  if (rules.eventReferenceFormat === 'id') return typeof reference === 'string' && isEventIdHash(reference)
  if (!Array.isArray(reference) || reference.length !== 2) return false
  const [eventId, hashes] = reference as readonly Json[]
  return typeof eventId === 'string' && isEventIdWithServer(eventId) && isObject(hashes)
}

function problemOfHashes(pdu: JsonObject): string | undefined {
  const hashes = own(pdu, 'hashes')
  return isObject(hashes) && ownString(hashes, 'sha256') !== undefined ? undefined : 'hashes has no sha256'
}

function problemOfSignatures(pdu: JsonObject): string | undefined {
  const signatures = own(pdu, 'signatures')
  const wellFormed = isObject(signatures) && Object.values(signatures).every(isObjectOfStrings)
  return wellFormed ? undefined : 'signatures is not an object of objects of strings'
}

const isObjectOfStrings = (value: Json | undefined): boolean =>
  isObject(value) && Object.values(value).every((item) => typeof item === 'string')

function problemOfJson(rules: RoomVersionRules, pdu: JsonObject): string | undefined {
  try {
    canonicalJson(pdu, numbersOf(rules))
    return undefined
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return cause.message
    throw cause
  }
}

/** The event of a PDU whose format was checked. `eventId` spares hashing when the id is known. */
export function roomEventOf(rules: RoomVersionRules, pdu: JsonObject, eventId = eventIdOf(rules, pdu)): RoomEvent {
  const content = own(pdu, 'content') as JsonObject
  const type = own(pdu, 'type') as string
  return {
    eventId,
    roomId: roomIdOf(rules, pdu, eventId),
    type,
    sender: own(pdu, 'sender') as string,
    stateKey: ownString(pdu, 'state_key'),
    content,
    originServerTs: own(pdu, 'origin_server_ts') as number,
    depth: own(pdu, 'depth') as number,
    prevEvents: referencesOf(rules, pdu, 'prev_events'),
    authEvents: referencesOf(rules, pdu, 'auth_events'),
    redacts: type === 'm.room.redaction' ? ownString(rules.redactsInContent ? content : pdu, 'redacts') : undefined,
    pdu,
  }
}

function referencesOf(rules: RoomVersionRules, pdu: JsonObject, key: 'auth_events' | 'prev_events'): readonly string[] {
  const references = own(pdu, key)
  if (rules.eventReferenceFormat === 'id') return references as readonly string[]
  return (references as readonly (readonly [string, JsonObject])[]).map(([eventId]) => eventId)
}
