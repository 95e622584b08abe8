/** Answers of other servers as JSON objects, and what our users hear when there is none. */
import { isObject, type JsonObject } from '../protocol/json.js'
import { MatrixError } from '../protocol/matrix-error.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from './remote.js'

/**
 * The answer to a request. What the other server says of an error never goes on to our users: a client that is told
 * M_UNKNOWN_TOKEN forgets its session (GHSA-95fh-hv8c-chvq).
 *
 * @throws MatrixError what `whenAbsent` gives for M_NOT_FOUND, 502 for another error or an answer that is none, 504 when
 *   the server was not reached.
 */
export async function objectFrom(
  remote: Remote,
  server: string,
  request: RemoteRequest,
  whenAbsent: () => MatrixError,
  signal?: AbortSignal,
): Promise<JsonObject> {
  try {
    const { value } = parseJson(await remote.request(server, request, signal))
    if (isObject(value)) return value
  } catch (cause) {
    if (cause instanceof RemoteError && cause.status === 404 && cause.errcode === 'M_NOT_FOUND') throw whenAbsent()
    if (cause instanceof RemoteError) throw badGateway(`${server} did not answer the request`)
    if (cause instanceof Unreachable) throw new MatrixError(504, 'M_UNKNOWN', `${server} cannot be reached now`)
    if (!(cause instanceof JsonError)) throw cause
  }
  throw malformed(server)
}

export const malformed = (server: string): MatrixError => badGateway(`${server} gave an answer that is not valid`)

const badGateway = (error: string): MatrixError => new MatrixError(502, 'M_UNKNOWN', error)

/** `a=b&c=d`, for the path of a request. What is undefined is left out. */
export const queryString = (parameters: Readonly<Record<string, string | number | boolean | undefined>>): string =>
  Object.entries(parameters)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]))
    .join('&')
