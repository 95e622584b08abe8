/** What a client is told when another server, asked for it, did not do what was asked. */
import { ownString } from '../protocol/json.js'
import { limitExceeded, MatrixError } from '../protocol/matrix-error.js'
import { RemoteError, Unreachable } from './remote.js'

/**
 * Errors that mean the same to a client as to us, with the status that they have in the client-server API. All others
 * stay here: a client that is told M_UNKNOWN_TOKEN forgets its session and its keys (GHSA-95fh-hv8c-chvq), and
 * M_MISSING_PARAM would blame it for a request of ours.
 */
const passed: ReadonlyMap<string, number> = new Map([
  ['M_FORBIDDEN', 403],
  ['M_NOT_FOUND', 404],
  ['M_INVITE_BLOCKED', 403],
  ['M_UNABLE_TO_AUTHORISE_JOIN', 400],
  ['M_UNABLE_TO_GRANT_JOIN', 400],
  ['M_INCOMPATIBLE_ROOM_VERSION', 400],
  ['M_UNSUPPORTED_ROOM_VERSION', 400],
])

const LONGEST_WAIT = 60 * 60_000

/** Throws what is no failure of another server. */
export function relayed(cause: unknown): MatrixError {
  if (cause instanceof Unreachable) {
    return new MatrixError(504, 'M_UNKNOWN', `The server ${cause.destination} cannot be reached now`)
  }
  if (!(cause instanceof RemoteError)) throw cause
  const { destination, status, errcode } = cause
  if (status === 429) return limitOf(cause)

  const passedStatus = status < 500 ? passed.get(errcode) : undefined
  if (passedStatus === undefined) return new MatrixError(502, 'M_UNKNOWN', `The server ${destination} failed to answer`)
  return new MatrixError(passedStatus, errcode, textOf(cause), extraOf(cause))
}

/** Of a 429: a client that waits as long as the other server asks for will do better. */
export const limitOf = ({ retryAfter = 1000 }: RemoteError): MatrixError =>
  limitExceeded(Math.min(retryAfter, LONGEST_WAIT))

const textOf = ({ destination, error }: RemoteError): string =>
  error === '' ? `The server ${destination} refused the request` : error

/** "The version of the room", which says to the client why. */
function extraOf({ errcode, body }: RemoteError): Record<string, string> {
  const version = errcode === 'M_INCOMPATIBLE_ROOM_VERSION' ? ownString(body, 'room_version') : undefined
  return version === undefined ? {} : { room_version: version }
}
