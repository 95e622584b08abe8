import { CanonicalJsonError, canonicalJson } from './canonical-json.js'
import { eventIdOf, roomIdOf } from './event-id.js'
import { numbersOf } from './hashes.js'
import {
  fitsId,
  fitsIdInCodePoints,
  isEventIdHash,
  isEventIdWithServer,
  isRoomIdHash,
  isRoomIdWithServer,
  isUserId,
} from './identifiers.js'
import { ExactNumber, isObject, numberOf, own, ownString, type Json, type JsonObject } from './json.js'
import { redact } from './redaction.js'
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
/**
 * The largest `depth` of an event of ours, in every version. Room versions 1 to 5 allow more, but servers that remember
 * CVE-2025-30355 refuse it there too. Peers' events go by the specification: a room must not split over a depth.
 */
export const MAX_DEPTH = Number.MAX_SAFE_INTEGER

/** `text` is the canonical JSON of the whole PDU. */
export const checkSize = (text: string): Verdict =>
  text.length * 3 <= MAX_EVENT_BYTES || Buffer.byteLength(text) <= MAX_EVENT_BYTES
    ? allow
    : reject(`larger than ${MAX_EVENT_BYTES} bytes`)

/**
 * Types, required keys and limits, nothing about meaning. Whether numbers were written canonically is seen if the PDU was
 * read by `parseExactJson`, which is how PDUs of peers are to be read.
 */
export function checkPduFormat(rules: RoomVersionRules, pdu: JsonObject): Verdict {
  const problem = problemOfShape(rules, pdu) ?? problemOfJson(rules, pdu)
  return problem === undefined ? allow : reject(problem)
}

/** The same for who writes its canonical JSON anyway, and sees there whether it has one. */
export function checkPduShape(rules: RoomVersionRules, pdu: JsonObject): Verdict {
  const problem = problemOfShape(rules, pdu)
  return problem === undefined ? allow : reject(problem)
}

const problemOfShape = (rules: RoomVersionRules, pdu: JsonObject): string | undefined =>
  problemOfIds(rules, pdu) ??
  problemOfFields(rules, pdu) ??
  problemOfReferences(rules, pdu, 'auth_events', MAX_AUTH_EVENTS) ??
  problemOfReferences(rules, pdu, 'prev_events', MAX_PREV_EVENTS) ??
  problemOfHashes(pdu) ??
  problemOfSignatures(pdu)

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
  const fits = rules.limitsInBytes ? fitsId : fitsIdInCodePoints
  const limit = rules.limitsInBytes ? '255 bytes' : '255 code points'
  const type = own(pdu, 'type')
  if (typeof type !== 'string' || !fits(type)) return `type is not a string of at most ${limit}`
  const stateKey = own(pdu, 'state_key')
  if (stateKey !== undefined && (typeof stateKey !== 'string' || !fits(stateKey))) {
    return `state_key is not a string of at most ${limit}`
  }
  if (!isObject(own(pdu, 'content'))) return 'content is not an object'
  if (!isTimestamp(own(pdu, 'origin_server_ts'))) return 'origin_server_ts is not an integer of 64 bits'
  if (!isDepth(own(pdu, 'depth'))) return 'depth is not an integer within its limits'
  if (!isObject(own(pdu, 'unsigned') ?? {})) return 'unsigned is not an object'
  return undefined
}

/** In v1–v5 `1700000000000.0` is as good: no server asks how a timestamp is written, but none can keep more than 64 bits. */
function isTimestamp(value: Json | undefined): boolean {
  const timestamp = numberOf(value)
  return Number.isInteger(timestamp) && Math.abs(timestamp!) <= 2 ** 63
}

/** 2^63 - 1 in v1–v5. From v6 on an integer above 2^53 - 1 is no canonical JSON. A float is no depth. */
const isDepth = (depth: Json | undefined): boolean =>
  depth instanceof ExactNumber
    ? /^[0-9]+$/.test(depth.text) && BigInt(depth.text) < 2n ** 63n
    : typeof depth === 'number' && Number.isInteger(depth) && depth >= 0 && depth < 2 ** 63

/**
 * What is beyond it is as large as it can be: our arithmetic and the database's columns hold no more. Only in v1 does
 * anything but our own pages depend on a depth, and servers there refuse such depths by now (see `MAX_DEPTH`).
 */
const safeIntegerOf = (value: Json | undefined): number =>
  Math.max(-Number.MAX_SAFE_INTEGER, Math.min(numberOf(value)!, Number.MAX_SAFE_INTEGER))

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
    originServerTs: safeIntegerOf(own(pdu, 'origin_server_ts')),
    depth: safeIntegerOf(own(pdu, 'depth')),
    prevEvents: referencesOf(rules, pdu, 'prev_events'),
    authEvents: referencesOf(rules, pdu, 'auth_events'),
    redacts: type === 'm.room.redaction' ? ownString(rules.redactsInContent ? content : pdu, 'redacts') : undefined,
    pdu,
  }
}

/** What is left of an event that is redacted, and its text. */
export function redactedEvent(rules: RoomVersionRules, event: RoomEvent): { event: RoomEvent; text: string } {
  const pdu = redact(rules, event.pdu)
  const left = { ...roomEventOf(rules, pdu, event.eventId), roomId: event.roomId }
  return { event: left, text: canonicalJson(pdu, numbersOf(rules)) }
}

/** The ids of the events that a PDU names, the format of which was checked. */
export function referencesOf(
  rules: RoomVersionRules,
  pdu: JsonObject,
  key: 'auth_events' | 'prev_events',
): readonly string[] {
  const references = own(pdu, key)
  if (rules.eventReferenceFormat === 'id') return references as readonly string[]
  return (references as readonly (readonly [string, JsonObject])[]).map(([eventId]) => eventId)
}
