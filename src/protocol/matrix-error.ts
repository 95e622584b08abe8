/**
 * A refusal in the form every Matrix API answers with. Thrown where the refusal is decided, turned into JSON in one
 * place (src/http/errors.ts). Below are the errcodes this server sends, each with the status it goes with.
 * https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
 */
export class MatrixError extends Error {
  override readonly name = 'MatrixError'
  constructor(
    readonly status: number,
    readonly errcode: string,
    message: string,
    /** Further keys of the answer, beside `errcode` and `error`. */
    readonly extra: Readonly<Record<string, unknown>> = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message)
  }

  /** The body of the answer. */
  json(): Readonly<Record<string, unknown>> {
    return { errcode: this.errcode, error: this.message, ...this.extra }
  }
}

export const badJson = (error: string) => new MatrixError(400, 'M_BAD_JSON', error)
export const notJson = (error: string) => new MatrixError(400, 'M_NOT_JSON', error)
export const invalidParam = (error: string) => new MatrixError(400, 'M_INVALID_PARAM', error)
export const missingParam = (error: string) => new MatrixError(400, 'M_MISSING_PARAM', error)
export const unknown = (error: string, status = 400) => new MatrixError(status, 'M_UNKNOWN', error)
export const badState = (error: string) => new MatrixError(400, 'M_BAD_STATE', error)

export const missingToken = () => new MatrixError(401, 'M_MISSING_TOKEN', 'An access token is required')
export const unknownToken = () => new MatrixError(401, 'M_UNKNOWN_TOKEN', 'The access token is not known here')

/** Another server's request is not signed as it should be. */
export const unauthorized = (error: string) => new MatrixError(401, 'M_UNAUTHORIZED', error)
export const forbidden = (error: string) => new MatrixError(403, 'M_FORBIDDEN', error)
export const inviteBlocked = (userId: string) =>
  new MatrixError(403, 'M_INVITE_BLOCKED', `${userId} does not want to be invited`)
export const guestAccessForbidden = (error: string) => new MatrixError(403, 'M_GUEST_ACCESS_FORBIDDEN', error)
export const userDeactivated = () => new MatrixError(403, 'M_USER_DEACTIVATED', 'This account has been deactivated')

export const notFound = (error: string) => new MatrixError(404, 'M_NOT_FOUND', error)
export const unrecognized = () => new MatrixError(404, 'M_UNRECOGNIZED', 'This server has no such endpoint')
export const methodNotAllowed = (allowed: readonly string[]) =>
  new MatrixError(
    405,
    'M_UNRECOGNIZED',
    `This endpoint accepts ${allowed.join(', ')}`,
    {},
    { Allow: allowed.join(', ') },
  )

export const tooLarge = (error: string) => new MatrixError(413, 'M_TOO_LARGE', error)
export const unsupportedRoomVersion = (error: string) => new MatrixError(400, 'M_UNSUPPORTED_ROOM_VERSION', error)
export const incompatibleRoomVersion = (version: string) =>
  new MatrixError(400, 'M_INCOMPATIBLE_ROOM_VERSION', `The room is of version ${version}`, { room_version: version })
/** None of the conditions of a restricted room can be looked at here: another server may know more. */
export const unableToAuthoriseJoin = (error: string) => new MatrixError(400, 'M_UNABLE_TO_AUTHORISE_JOIN', error)
/** The user may join, but nobody here has the right to let them in. */
export const unableToGrantJoin = (error: string) => new MatrixError(400, 'M_UNABLE_TO_GRANT_JOIN', error)
export const invalidRoomState = (error: string) => new MatrixError(400, 'M_INVALID_ROOM_STATE', error)
export const badAlias = (error: string) => new MatrixError(400, 'M_BAD_ALIAS', error)
export const roomInUse = (error: string) => new MatrixError(400, 'M_ROOM_IN_USE', error)

export const invalidUsername = (error: string) => new MatrixError(400, 'M_INVALID_USERNAME', error)
export const userInUse = () => new MatrixError(400, 'M_USER_IN_USE', 'This user name is taken')

/** `Retry-After` is in whole seconds; `retry_after_ms` is for the clients that know only that. */
export const limitExceeded = (retryAfterMs: number) =>
  new MatrixError(
    429,
    'M_LIMIT_EXCEEDED',
    'Too many requests',
    { retry_after_ms: retryAfterMs },
    { 'Retry-After': String(Math.ceil(retryAfterMs / 1000)) },
  )

/** What the request needs is not to be had at the moment, from other servers or of this one. */
export const tryAgain = (error: string) => new MatrixError(503, 'M_UNKNOWN', error, {}, { 'Retry-After': '5' })

/** Something this server depends on is away for a while. */
export const unavailable = () =>
  new MatrixError(503, 'M_UNKNOWN', 'The server cannot reach its database, try again soon', {}, { 'Retry-After': '5' })
