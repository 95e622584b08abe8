/**
 * `m.room.create`: its authorisation, and who the creators of a room are.
 * https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
import { isUserId } from '../identifiers.js'
import { own, ownString } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import { type RoomVersionRules, rulesOf } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import { sameServer } from './same-server.js'

/** Authorisation of `m.room.create`. It looks at no state, and its list of auth events is not judged. */
export function checkCreate(rules: RoomVersionRules, event: RoomEvent): Verdict {
  // If it has any prev_events, reject.
  if (event.prevEvents.length > 0) return reject('create: has prev_events')

  // v1–v11: if the domain of the room_id does not match the domain of the sender, reject.
  // Since v12: if the event has a room_id, reject.
  if (rules.roomIdIsCreateHash) {
    if (own(event.pdu, 'room_id') !== undefined) return reject('create: has a room_id')
  } else if (!sameServer(event.roomId, event.sender)) {
    return reject("create: the room_id is not of the sender's server")
  }

  // If content.room_version is present and is not a recognised version, reject.
  const version = own(event.content, 'room_version')
  if (version !== undefined && !(typeof version === 'string' && rulesOf(version))) {
    return reject('create: unknown room_version')
  }

  // v1–v10: if content has no creator property, reject.
  if (rules.creatorInCreateContent && own(event.content, 'creator') === undefined) return reject('create: no creator')

  // Since v12: if additional_creators is present in content and is not an array of strings where each string passes the
  // same user ID validation applied to sender, reject.
  if (rules.additionalCreators && !hasValidAdditionalCreators(event)) {
    return reject('create: additional_creators is not a list of user IDs')
  }

  // Otherwise, allow.
  return allow
}

function hasValidAdditionalCreators(event: RoomEvent): boolean {
  const creators = own(event.content, 'additional_creators')
  if (creators === undefined) return true
  return Array.isArray(creators) && creators.every((creator) => typeof creator === 'string' && isUserId(creator))
}

/**
 * The creator in the singular, who may join right after `m.room.create`: `content.creator` in v1–v10 (undefined when a
 * peer put something else than a string there), the sender since v11.
 */
export const creatorOf = (
  rules: RoomVersionRules,
  create: Pick<RoomEvent, 'sender' | 'content'>,
): string | undefined => (rules.creatorInCreateContent ? ownString(create.content, 'creator') : create.sender)

/** The creators in the plural: the creator and, since v12, `additional_creators`. Empty only in a room with a broken `creator`. */
export function creatorsOf(
  rules: RoomVersionRules,
  create: Pick<RoomEvent, 'sender' | 'content'>,
): ReadonlySet<string> {
  const creator = creatorOf(rules, create)
  const additional = rules.additionalCreators ? own(create.content, 'additional_creators') : undefined
  const others = Array.isArray(additional) ? additional.filter((user) => typeof user === 'string') : []
  return new Set(creator === undefined ? others : [creator, ...others])
}
