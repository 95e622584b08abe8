/** Requests to other servers by their names, signed as ours. See `Remote`. */
import { finished, PassThrough, type Readable } from 'node:stream'
import { canonicalJson } from '../protocol/canonical-json.js'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { signRequest } from '../protocol/x-matrix.js'
import type { SigningKey } from '../protocol/signing.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import type { Discovery } from './discovery.js'
import { discard, textOf, type Answer, type OutboundHttp } from './outbound-http.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from './remote.js'

export interface FederationClientDeps {
  readonly serverName: string
  readonly signingKey: SigningKey
  readonly http: OutboundHttp
  readonly discovery: Pick<Discovery, 'find'>
}

const TIMEOUT = 60_000
const MAX_BYTES = 16 * 1024 * 1024
/** Of an answer that is an error. */
const MAX_ERROR_BYTES = 64 * 1024

export class FederationClient implements Remote {
  constructor(private readonly deps: FederationClientDeps) {}

  async request(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<string> {
    const answer = await this.#answer(destination, request, 'signed', signal)
    return orUnreachable(destination, () => textOf(answer.body))
  }

  async unsigned(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<string> {
    const answer = await this.#answer(destination, request, 'unsigned', signal)
    return orUnreachable(destination, () => textOf(answer.body))
  }

  async stream(destination: string, request: RemoteRequest, signal?: AbortSignal): Promise<Readable> {
    const { body } = await this.#answer(destination, request, 'signed', signal)
    return failingAs(body, (cause) => unreachable(destination, cause))
  }

  /** Requests under way fail. */
  close(): Promise<void> {
    return this.deps.http.close()
  }

  /** An answer with status 200. */
  async #answer(
    destination: string,
    request: RemoteRequest,
    how: 'signed' | 'unsigned',
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const answer = await orUnreachable(destination, () => this.#ask(destination, request, how, signal))
    if (answer.status === 200) return answer
    throw await remoteError(destination, answer)
  }

  async #ask(
    destination: string,
    request: RemoteRequest,
    how: 'signed' | 'unsigned',
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const { serverName, discovery, http } = this.deps
    if (destination === serverName) throw new Error('is this server, which does not ask itself')
    const { method, path, content, timeout = TIMEOUT, maxBytes = MAX_BYTES } = request
    // Canonical, so that the signature is right also for whoever verifies the bytes and not what they parse to.
    const body = content === undefined ? undefined : canonicalJson(content, 'any')

    const end = performance.now() + timeout
    const target = await within(timeout, signal, discovery.find(destination))
    if (target === undefined) throw new Error('is no server name')
    const headers: Record<string, string> =
      how === 'signed' ? { authorization: this.#authorization(destination, request) } : {}
    const left = end - performance.now()
    return http.request(target, { method, path, body, headers, timeout: left, maxBytes }, signal)
  }

  #authorization(destination: string, { method, path, content }: RemoteRequest): string {
    const { serverName, signingKey } = this.deps
    return signRequest({ method, uri: path, origin: serverName, destination, content }, signingKey)
  }
}

/** Also when the caller gave up: `cause` is the reason of the caller's signal. */
function unreachable(destination: string, cause: unknown): Error {
  if (cause instanceof Unreachable) return cause
  return new Unreachable(destination, cause instanceof Error ? cause.message : String(cause), { cause })
}

async function orUnreachable<T>(destination: string, of: () => Promise<T>): Promise<T> {
  try {
    return await of()
  } catch (cause) {
    throw unreachable(destination, cause)
  }
}

/** The same text, which fails with another error. */
function failingAs(body: Readable, explain: (cause: Error) => Error): Readable {
  const explained = new PassThrough({ objectMode: true, highWaterMark: 2 })
  // It may fail before anybody reads it; whoever does is told then.
  explained.on('error', () => {})
  explained.once('close', () => body.destroy())
  finished(body, (cause) => {
    if (cause !== undefined && cause !== null) explained.destroy(explain(cause))
  })
  return body.pipe(explained)
}

/** Discovery goes on for the next who asks. */
async function within<T>(ms: number, signal: AbortSignal | undefined, task: Promise<T>): Promise<T> {
  signal?.throwIfAborted()
  let giveUp = () => {}
  const over = new Promise<never>((_resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`was not found within ${ms} ms`)), ms)
    const onAbort = () => reject(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort)
    giveUp = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  })
  try {
    return await Promise.race([task, over])
  } finally {
    giveUp()
  }
}

async function remoteError(destination: string, { status, headers, body }: Answer): Promise<RemoteError> {
  const error = await errorBody(body)
  const errcode = ownString(error, 'errcode') ?? 'M_UNKNOWN'
  const retryAfter = status === 429 ? retryAfterOf(headers['retry-after'], error) : undefined
  return new RemoteError(destination, status, errcode, ownString(error, 'error') ?? '', error, retryAfter)
}

/** Empty where it is none: a proxy on the way may have answered with a page. */
async function errorBody(body: Readable): Promise<JsonObject> {
  try {
    const { value } = parseJson(await textUpTo(body, MAX_ERROR_BYTES))
    return isObject(value) ? value : {}
  } catch (cause) {
    if (cause instanceof JsonError) return {}
    throw cause
  }
}

/** Empty where it is longer, or breaks off. */
async function textUpTo(body: Readable, maxLength: number): Promise<string> {
  let text = ''
  try {
    for await (const chunk of body) {
      text += chunk as string
      if (text.length > maxLength) return discard(body)
    }
    return text
  } catch {
    return ''
  }
}

/** In ms. The header counts before the field, which is older. */
function retryAfterOf(header: string | string[] | undefined, error: JsonObject): number | undefined {
  if (typeof header === 'string' && /^\d{1,9}$/.test(header)) return Number(header) * 1000
  const field = own(error, 'retry_after_ms')
  return typeof field === 'number' && field >= 0 ? Math.round(field) : undefined
}
