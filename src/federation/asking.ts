/** Answers of other servers as JSON objects. */
import { isObject, type JsonObject } from '../protocol/json.js'
import { MatrixError } from '../protocol/matrix-error.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import { relayed } from './relayed-errors.js'
import type { Remote, RemoteRequest } from './remote.js'

/** The answer to what a user of ours waits for. @throws MatrixError as `relayed`, and 502 for an answer that is no object. */
export async function objectFrom(
  remote: Remote,
  server: string,
  request: RemoteRequest,
  signal?: AbortSignal,
): Promise<JsonObject> {
  try {
    const { value } = parseJson(await remote.request(server, request, signal))
    if (isObject(value)) return value
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw relayed(cause)
  }
  throw malformed(server)
}

export const malformed = (server: string): MatrixError =>
  new MatrixError(502, 'M_UNKNOWN', `The server ${server} gave an answer that is not valid`)

/** `a=b&c=d`, for the path of a request. What is undefined is left out. */
export const queryString = (parameters: Readonly<Record<string, string | number | boolean | undefined>>): string =>
  Object.entries(parameters)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]))
    .join('&')
