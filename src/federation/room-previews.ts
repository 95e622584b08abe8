/** What other servers say of their rooms: fields of the wrong type count as absent, a room without an id as none. */
import { isRoomAlias, isRoomId } from '../protocol/identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import type { RoomChunk, RoomPreview } from '../room/room-chunk.js'

export function readRoomChunk(given: Json | undefined): RoomChunk | undefined {
  if (given === undefined || !isObject(given)) return undefined
  const room_id = ownString(given, 'room_id') ?? ''
  if (!isRoomId(room_id)) return undefined
  return {
    room_id,
    num_joined_members: count(own(given, 'num_joined_members')) ?? 0,
    world_readable: own(given, 'world_readable') === true,
    guest_can_join: own(given, 'guest_can_join') === true,
    // "When not present, the room is assumed to be public."
    join_rule: text(given, 'join_rule') ?? 'public',
    name: text(given, 'name'),
    topic: text(given, 'topic'),
    canonical_alias: stringThat(isRoomAlias, given, 'canonical_alias'),
    avatar_url: stringThat(isMxc, given, 'avatar_url'),
    room_type: text(given, 'room_type'),
  }
}

/** Rooms that let the members of more rooms in are none that anybody made. */
const MAX_ALLOWED_ROOMS = 100

export function readRoomPreview(given: Json | undefined): RoomPreview | undefined {
  const chunk = readRoomChunk(given)
  if (chunk === undefined) return undefined
  const room = given as JsonObject
  return {
    ...chunk,
    encryption: text(room, 'encryption'),
    room_version: text(room, 'room_version'),
    allowed_room_ids: roomIds(own(room, 'allowed_room_ids')).slice(0, MAX_ALLOWED_ROOMS),
  }
}

export const roomIds = (given: Json | undefined): string[] =>
  Array.isArray(given) ? given.filter((id): id is string => typeof id === 'string' && isRoomId(id)) : []

export const count = (given: Json | undefined): number | undefined =>
  typeof given === 'number' && Number.isSafeInteger(given) && given >= 0 ? given : undefined

export const isMxc = (text: string): boolean => text.startsWith('mxc://')

/** What is longer than an event can be is none. */
const text = (object: JsonObject, key: string): string | undefined =>
  stringThat((given) => given.length <= 65_536, object, key)

function stringThat(isValid: (text: string) => boolean, object: JsonObject, key: string): string | undefined {
  const text = ownString(object, key)
  return text !== undefined && isValid(text) ? text : undefined
}
