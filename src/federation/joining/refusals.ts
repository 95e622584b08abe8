/** What a user hears when other servers did not do their part of a membership. */
import { ownString } from '../../protocol/json.js'
import { forbidden, incompatibleRoomVersion, MatrixError, notFound, tryAgain } from '../../protocol/matrix-error.js'
import { EventsUnknown, HeadMoved } from '../../room/arrival.js'
import { isTooCostly, NotNow } from '../../room/inbound/not-now.js'
import type { Handshake } from '../../room/membership-templates.js'
import { limitOf } from '../relayed-errors.js'
import { RemoteError, Unreachable } from '../remote.js'

/**
 * What went wrong at one server, where another may do better.
 * @throws what went wrong, where none would
 */
export function failureOf(cause: unknown): Error {
  if (cause instanceof HeadMoved || isTooCostly(cause)) throw tryAgain('The room cannot be entered at the moment')
  const isOfServer = cause instanceof RemoteError || cause instanceof Unreachable
  if (isOfServer || cause instanceof NotNow || cause instanceof EventsUnknown) return cause
  throw cause
}

/** A server that knows the room says more than one that cannot be reached. */
export function furthest(before: unknown, cause: Error): Error {
  if (before instanceof RemoteError && !(cause instanceof RemoteError && rank(cause) > rank(before))) return before
  return cause
}

function rank({ status, errcode }: RemoteError): number {
  if (errcode === 'M_INCOMPATIBLE_ROOM_VERSION') return 4
  if (status === 403 || status === 400) return 3
  // It may let the user in later.
  if (status === 429) return 2
  return status === 404 ? 1 : 0
}

export function refusalOf(failure: unknown, membership: Handshake): MatrixError {
  if (failure instanceof RemoteError) {
    if (failure.errcode === 'M_INCOMPATIBLE_ROOM_VERSION')
      return incompatibleRoomVersion(ownString(failure.body, 'room_version') ?? 'unknown')
    if (failure.status === 403 || /^M_UNABLE_TO_/.test(failure.errcode))
      return forbidden(`The room's servers do not allow the ${membership}: ${failure.error}`)
    if (failure.status === 404) return notFound(`${failure.destination} does not know the room`)
    if (failure.status === 429) return limitOf(failure)
    return new MatrixError(502, 'M_UNKNOWN', `${failure.destination} did not take the ${membership}: ${failure.error}`)
  }
  const why = failure instanceof Error ? `: ${failure.message}` : ''
  return new MatrixError(
    failure instanceof Unreachable ? 504 : 502,
    'M_UNKNOWN',
    `No server of the room took the ${membership}${why}`,
  )
}

export function inviteRefused(cause: Error, target: string): MatrixError {
  if (cause instanceof RemoteError && cause.errcode === 'M_INVITE_BLOCKED')
    return new MatrixError(403, 'M_INVITE_BLOCKED', `${target} does not accept invites from you`)
  if (cause instanceof RemoteError && cause.status === 403)
    return forbidden(`The server of ${target} refuses the invite: ${cause.error}`)
  if (cause instanceof RemoteError && cause.errcode === 'M_INCOMPATIBLE_ROOM_VERSION')
    return new MatrixError(
      400,
      'M_UNSUPPORTED_ROOM_VERSION',
      `The server of ${target} does not know rooms of this version`,
    )
  if (cause instanceof RemoteError && cause.status === 404) return notFound(`There is no user ${target}`)
  if (cause instanceof RemoteError && cause.status === 429) return limitOf(cause)
  return new MatrixError(
    cause instanceof RemoteError ? 502 : 504,
    'M_UNKNOWN',
    `${target} could not be invited: ${cause.message}`,
  )
}
