/// <reference lib="es2024.string" />
import { isIPv6 } from 'node:net'

/** The grammar of identifiers. https://spec.matrix.org/v1.19/appendices/#identifier-grammar */

/** In UTF-8, with sigil and domain. The same limit stands on `type` and `state_key`. */
export const MAX_ID_BYTES = 255

/** Whether a text has at most 255 bytes in UTF-8. */
export const fitsId = (text: string): boolean =>
  text.length * 3 <= MAX_ID_BYTES || (text.length <= MAX_ID_BYTES && Buffer.byteLength(text) <= MAX_ID_BYTES)

/** Whether a text has at most 255 code points, each of up to four bytes. */
export const fitsIdInCodePoints = (text: string): boolean =>
  fitsId(text) || (text.length <= 2 * MAX_ID_BYTES && [...text].length <= MAX_ID_BYTES)

/** The part after the first colon: the server that made the identifier. Undefined when there is no colon. */
export function serverNameOf(id: string): string | undefined {
  const colon = id.indexOf(':')
  return colon === -1 ? undefined : id.slice(colon + 1)
}

/** The part between the sigil and the first colon, or to the end when there is no colon. */
export function localpartOf(userId: string): string {
  const colon = userId.indexOf(':')
  return userId.slice(1, colon === -1 ? undefined : colon)
}

/** A host name or address with an optional port. Names that differ in case are different servers. */
export function isServerName(name: string): boolean {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|[0-9A-Za-z.-]{1,255})(?::[0-9]{1,5})?$/.exec(name)
  if (match === null) return false
  return match[1] === undefined || isIPv6(match[1])
}

/** A sigil, any code points but `:` and NUL, a colon, a server name. */
function hasLocalpartAndServer(sigil: string, id: string): boolean {
  if (!id.startsWith(sigil) || !fitsId(id)) return false
  const colon = id.indexOf(':')
  return colon !== -1 && isServerName(id.slice(colon + 1)) && isLegal(id.slice(1, colon))
}

const isLegal = (localpart: string): boolean => !localpart.includes('\0') && localpart.isWellFormed()

/** Historical user ids included: servers must accept any localpart, the empty one too, in the events of their peers. */
export const isUserId = (id: string): boolean => hasLocalpartAndServer('@', id)

/** The localparts a new account may have; the localpart must still fit, with the server name, into 255 bytes. */
export const isNewLocalpart = (localpart: string): boolean => /^[a-z0-9._=/+-]+$/.test(localpart)

/** `#alias:server`, with at least one character before the colon. */
export const isRoomAlias = (id: string): boolean => id[1] !== ':' && hasLocalpartAndServer('#', id)

/** A room id of the versions that name a server in it (1 to 11). */
export const isRoomIdWithServer = (id: string): boolean => hasLocalpartAndServer('!', id)

/** A room id made of the hash of the create event (version 12). */
export const isRoomIdHash = (id: string): boolean => /^![A-Za-z0-9_-]{43}$/.test(id)

/** A room id of any version. */
export const isRoomId = (id: string): boolean => isRoomIdHash(id) || isRoomIdWithServer(id)

/** An event id of the versions that name a server in it (1 and 2). */
export const isEventIdWithServer = (id: string): boolean => hasLocalpartAndServer('$', id)

/** An event id made of the reference hash, in either alphabet (version 3, and 4 on). */
export const isEventIdHash = (id: string): boolean => /^\$[A-Za-z0-9+/_-]{43}$/.test(id)

/** An event id of any room version. */
export const isEventId = (id: string): boolean => isEventIdHash(id) || isEventIdWithServer(id)

/** The grammar only; `rulesOf` says which versions are known here. */
export const isRoomVersionName = (name: string): boolean => /^[a-z0-9.-]{1,32}$/.test(name)
