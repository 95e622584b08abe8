/**
 * Who sent a request: the server that signed it. The signature covers the method, the URI as it stands in the request
 * line, both servers' names and the content, so that it is worth nothing for another request or at another server.
 * https://spec.matrix.org/v1.19/server-server-api/#request-authentication
 */
import { decodeBase64 } from '../protocol/base64.js'
import { limitExceeded, unauthorized } from '../protocol/matrix-error.js'
import { parseAuthorization, type Credentials } from '../protocol/x-matrix.js'
import { Unreachable } from './remote.js'
import { RequestSignatures } from './request-signatures.js'
import type { ServerKeys } from './server-keys.js'
import { UnverifiedBodies } from './unverified-bodies.js'

export interface RequestAuthDeps {
  readonly serverName: string
  readonly serverKeys: Pick<ServerKeys, 'keys' | 'knows'>
  /** In ms. */
  readonly now: () => number
  /** A server is alive: it signed what it just sent. */
  readonly onHeard: (serverName: string) => void
}

/** A request as it came; `SignedRequest` of http/dispatch.ts. */
export interface ReceivedRequest {
  readonly method: string
  readonly uri: string
  readonly authorization: string | undefined
  readonly body: { readonly length: number | undefined; read(): Promise<Buffer> } | undefined
  readonly address: string
}

/** In ms: the other side has its own, and keys that come later are kept for the next request. */
const PATIENCE = 15_000
/** Requests of servers we know nothing of. Anybody can write any name into a header, and have us look for it. */
const MOST_STRANGERS = 50

export class RequestAuth {
  #strangers = 0
  readonly #bodies = new UnverifiedBodies()
  readonly #signatures = new RequestSignatures()

  constructor(private readonly deps: RequestAuthDeps) {}

  /** Ends the thread, if there is one. */
  close(): Promise<void> {
    return this.#signatures.close()
  }

  /**
   * Throws M_UNAUTHORIZED, or M_LIMIT_EXCEEDED where too many servers are looked for already, or too many bodies are in
   * work. The body is read when all else is known: what names no server, or none that has the key, costs nothing.
   */
  async authenticate(request: ReceivedRequest): Promise<{ readonly serverName: string }> {
    if (request.authorization === undefined) throw unauthorized('The request has no Authorization header')
    const credentials = parseAuthorization(request.authorization)
    this.#checkNames(credentials)
    const { origin } = credentials
    const signature = decodeBase64(credentials.signature)
    const publicKey = await this.#key(credentials)
    if (signature === undefined || !(await this.#isSigned(request, origin, publicKey, signature))) {
      throw unauthorized(
        `The signature of ${origin} is not that of this request: it covers the method, the path and query ` +
          'as they are sent, origin, destination and content',
      )
    }
    this.deps.onHeard(origin)
    return { serverName: origin }
  }

  #isSigned(
    { method, uri, body, address }: ReceivedRequest,
    origin: string,
    publicKey: Uint8Array,
    signature: Uint8Array,
  ) {
    const signed = { request: { method, uri, origin, destination: this.deps.serverName }, publicKey, signature }
    if (body === undefined) return this.#signatures.isRight(signed, undefined)
    return this.#bodies.inWork(address, body.length, async () => this.#signatures.isRight(signed, await body.read()))
  }

  #checkNames({ origin, destination }: Credentials): void {
    const { serverName } = this.deps
    if (destination !== undefined && destination !== serverName) {
      throw unauthorized(`The request is for another server: this is ${serverName}`)
    }
    if (origin === serverName) throw unauthorized(`This server asks itself nothing: the origin cannot be ${serverName}`)
  }

  /** A key that counts at this moment: those of `old_verify_keys` have expired, whatever they sign. */
  async #key({ origin, keyId }: Credentials): Promise<Uint8Array> {
    const found = (await this.#keys(origin, keyId, this.deps.now())).get(keyId)
    if (found === undefined) throw unauthorized(`${origin} publishes no key ${keyId}`)
    // By now: the answer that says of a key that it is an old one may have come meanwhile.
    if (found.validUntil <= this.deps.now()) throw unauthorized(`The key ${keyId} of ${origin} has expired`)
    return found.key
  }

  async #keys(origin: string, keyId: string, now: number): ReturnType<ServerKeys['keys']> {
    if (await this.deps.serverKeys.knows(origin)) return this.#patiently(origin, keyId, now)
    if (this.#strangers >= MOST_STRANGERS) throw limitExceeded(1_000)
    this.#strangers++
    try {
      return await this.#patiently(origin, keyId, now)
    } finally {
      this.#strangers--
    }
  }

  async #patiently(origin: string, keyId: string, now: number): ReturnType<ServerKeys['keys']> {
    const patience = AbortSignal.timeout(PATIENCE)
    try {
      return await this.deps.serverKeys.keys(origin, [keyId], now, patience)
    } catch (cause) {
      if (cause instanceof Unreachable) throw unauthorized(`Cannot verify the signature: ${cause.message}`)
      if (patience.aborted) throw unauthorized(`Cannot verify the signature: ${origin} is slow to answer for its keys`)
      throw cause
    }
  }
}
