/**
 * Requests to other servers, signed as ours. What answers is found by the server's name (discovery), within limits of
 * bytes and time, and never at an address that is on the deny-list.
 */
import type { Readable } from 'node:stream'
import type { JsonObject } from '../protocol/json.js'

export interface RemoteRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** Encoded, with the query: `/_matrix/federation/v1/version`. It is signed as it stands here. */
  readonly path: string
  readonly content?: JsonObject
  /** Until the whole answer is there, in ms; 60 s unless said otherwise. */
  readonly timeout?: number
  /** Of the answer, after decompression; 16 MiB unless said otherwise. */
  readonly maxBytes?: number
}

export interface Remote {
  /** The text of a 200 answer. @throws RemoteError, Unreachable */
  request(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<string>
  /** A 200 answer as it arrives, in chunks of UTF-8 text. Whoever takes it reads it to its end or destroys it. */
  stream(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<Readable>
  /** As `request`, without a signature, for what is public: keys. */
  unsigned(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<string>
}

const LONGEST_TEXT = 500

/** The server answered with something else than 200. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError'
  /** Of a length that can be told and logged. */
  readonly error: string

  constructor(
    readonly destination: string,
    readonly status: number,
    /** `M_UNKNOWN` when the body has none. Never handed on to a client as it is: see `relayed`. */
    readonly errcode: string,
    error: string,
    /** The whole body, for fields that some errors have beside. */
    readonly body: JsonObject,
    /** Of a 429, in ms. */
    readonly retryAfter?: number,
  ) {
    const told = error.slice(0, LONGEST_TEXT).toWellFormed()
    super(`${destination} answered ${status} ${errcode}: ${told}`)
    this.error = told
  }
}

/** No answer was had: not found, refused, too slow, too large, not allowed, malformed, or given up by the caller's signal. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
  constructor(
    readonly destination: string,
    why: string,
    options?: ErrorOptions,
  ) {
    super(`${destination}: ${why}`, options)
  }
}
