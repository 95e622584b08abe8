import { serverNameOf } from '../identifiers.js'
import type { RoomEvent } from '../room-event.js'
import { type Verdict, allow, reject } from '../verdict.js'

/**
 * Authorisation of `m.room.aliases` in room versions 1 to 5. The sender need not be in the room: servers announced their
 * aliases so. https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules
 */
export function checkAliases(event: RoomEvent): Verdict {
  // If event has no state_key, reject.
  if (event.stateKey === undefined) return reject('aliases: no state_key')

  // If sender's domain doesn't match state_key, reject.
  if (serverNameOf(event.sender) !== event.stateKey) return reject("aliases: the state_key is not the sender's server")

  // Otherwise, allow.
  return allow
}
