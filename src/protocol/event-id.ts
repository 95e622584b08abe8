import { hash } from 'node:crypto'
import { sha256Base64, signedText } from './hashes.js'
import { ownString, type JsonObject } from './json.js'
import type { RoomVersionRules } from './room-versions.js'

/** The id of an event whose format was checked. Throws if it lacks what the id is made of. */
export function eventIdOf(rules: RoomVersionRules, pdu: JsonObject): string {
  return rules.eventIdFormat === 'in-pdu'
    ? required(ownString(pdu, 'event_id'), 'event_id')
    : eventIdOfEssential(rules, signedText(rules, pdu))
}

/** The event id that the essential fields make (`signedText`). Not for room versions 1 and 2, whose ids are free. */
export const eventIdOfEssential = (rules: RoomVersionRules, essential: string): string =>
  '$' + (rules.eventIdFormat === 'hash-base64' ? sha256Base64(essential) : hash('sha256', essential, 'base64url'))

/**
 * The room of an event whose format was checked. From version 12 on `m.room.create` names no room: its own id is the
 * room's, with another sigil. https://spec.matrix.org/v1.19/appendices/#room-ids
 */
export function roomIdOf(rules: RoomVersionRules, pdu: JsonObject, eventId?: string): string {
  const roomId = ownString(pdu, 'room_id')
  return roomId === undefined && rules.roomIdIsCreateHash && ownString(pdu, 'type') === 'm.room.create'
    ? '!' + (eventId ?? eventIdOf(rules, pdu)).slice(1)
    : required(roomId, 'room_id')
}

function required(value: string | undefined, key: string): string {
  if (value === undefined) throw new Error(`An event without ${key}: its format was not checked`)
  return value
}
