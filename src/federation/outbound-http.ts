/**
 * HTTPS to servers that anybody may have named. Where it goes is decided here and not by a URL: to addresses that are
 * permitted, tried in turn, with the certificate of the name that was asked for, wherever that name led. What comes back
 * is bounded in bytes, also after decompression, and in time, from the first look-up to the last byte.
 */
import type { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { pipeline, Transform, type Readable, type TransformCallback } from 'node:stream'
import * as tls from 'node:tls'
import { createGunzip } from 'node:zlib'
import { LRUCache } from 'lru-cache'
import { Pool, type Dispatcher } from 'undici'
import type { Addresses } from './addresses.js'
import { type Lookup, lookUp } from './look-up.js'

/** A server as it is to be connected to. */
export interface Target {
  /** The name or the address that its certificate has to be for; names are also what it is told (SNI). */
  readonly certificateName: string
  /** The `Host` header. */
  readonly host: string
  /** Where it may listen, best first. */
  readonly places: readonly Place[]
}

/** `host`: a name or an address, without brackets. */
export interface Place {
  readonly host: string
  readonly port: number
}

export interface OutboundRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** With the query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** JSON. */
  readonly body?: string
  /** In ms, to the end of the answer. */
  readonly timeout: number
  /** Of the answer's body, compressed and not. */
  readonly maxBytes: number
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** In chunks of text. It fails when it is no UTF-8, too large or too slow. Whoever gets it reads it to its end or destroys it. */
  readonly body: Readable
}

/** What an address of a server shows to who connects to it. */
export type Inspection = {
  readonly place: Place
  /** Undefined where none was found that may be connected to. */
  readonly address: string | undefined
} & (
  | { readonly failure: string; readonly code: string | undefined }
  | {
      readonly failure: undefined
      readonly certificate: X509Certificate
      /** Why requests would not trust the certificate, as Node and OpenSSL name it. */
      readonly distrust: string | undefined
    }
)

export interface OutboundHttpOptions {
  readonly addresses: Addresses
  /** Certificates in PEM that are trusted beside those of Node. */
  readonly trustedCaFile?: string | undefined
  readonly lookup?: Lookup
  /** In ms, of one address, to the end of the TLS handshake; less while there are others to try. */
  readonly connectTimeout?: number
}

/** Requests to one server at a time; more wait. */
const CONNECTIONS = 4
const KEEP_ALIVE_MS = 60_000
/** Servers whose connections are kept; beyond, those that were not asked for longest are let go. */
const MAX_POOLS = 4096
const MAX_ADDRESSES = 6
/** Of the time for one address, while there are others: a server whose IPv6 leads nowhere is had by IPv4. */
const SHARE_WITH_OTHERS = 0.3

export class OutboundHttp {
  readonly #addresses: Addresses
  readonly #lookup: Lookup
  readonly #secureContext: tls.SecureContext
  readonly #connectTimeout: number
  readonly #pools = new LRUCache<string, Pool>({
    max: MAX_POOLS,
    dispose: (pool, _key, reason) => {
      if (reason === 'evict') void pool.close()
    },
  })
  readonly #handshakes = new Set<tls.TLSSocket>()
  #closed = false

  constructor({ addresses, trustedCaFile, lookup = lookUp(), connectTimeout = 10_000 }: OutboundHttpOptions) {
    this.#addresses = addresses
    this.#lookup = lookup
    this.#connectTimeout = connectTimeout
    this.#secureContext = tls.createSecureContext(trustedCaFile === undefined ? {} : { ca: trusted(trustedCaFile) })
  }

  /** Redirects are answers like others. When `signal` is aborted it rejects with the signal's reason. */
  request(target: Target, request: OutboundRequest, signal?: AbortSignal): Promise<Answer> {
    return answerOf(this.#poolOf(target), target, request, signal)
  }

  /** What stands at a URL, over a connection of its own; redirects are followed, to `https:` only. */
  async get(
    url: URL,
    { timeout, maxBytes, redirects }: { timeout: number; maxBytes: number; redirects: number },
  ): Promise<Omit<Answer, 'body'> & { readonly text: string }> {
    const end = performance.now() + timeout
    let at = url
    for (let left = redirects; ; left--) {
      const answer = await this.#getOnce(at, { timeout: end - performance.now(), maxBytes })
      const { location } = answer.headers
      if (!isRedirect(answer.status) || typeof location !== 'string') return answer
      if (left === 0) throw new Error(`more than ${redirects} redirects`)
      at = new URL(location, at)
    }
  }

  /** Connects to every address, not only to the first that answers, and sends nothing. For the operator of this server. */
  async inspect(target: Target): Promise<Inspection[]> {
    const places = await Promise.all(target.places.map((place) => this.#inspectPlace(target, place)))
    return places.flat()
  }

  /** Requests under way fail. */
  async close(): Promise<void> {
    this.#closed = true
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    for (const socket of this.#handshakes) socket.destroy(new Error('the server stops'))
    await Promise.all(pools.map((pool) => pool.destroy()))
  }

  async #getOnce(url: URL, limits: { timeout: number; maxBytes: number }) {
    if (url.protocol !== 'https:') throw new Error(`${url.protocol} is not https:`)
    const name = withoutBrackets(url.hostname)
    const place = { host: name, port: url.port === '' ? 443 : Number(url.port) }
    const target = { certificateName: name, host: url.host, places: [place] }
    const pool = this.#connecting(target)
    try {
      const path = `${url.pathname}${url.search}`
      const { body, ...answer } = await answerOf(pool, target, { method: 'GET', path, ...limits })
      return { ...answer, text: isRedirect(answer.status) ? discard(body) : await textOf(body) }
    } finally {
      void pool.destroy()
    }
  }

  async #inspectPlace(target: Target, place: Place): Promise<Inspection[]> {
    const failures: string[] = []
    const addresses = await this.#permitted(place, failures)
    const nowhere = failures.map((failure) => ({ place, address: undefined, failure, code: undefined }))
    const tried = addresses.slice(0, MAX_ADDRESSES).map((address) => this.#inspectAddress(target, place, address))
    return [...nowhere, ...(await Promise.all(tried))]
  }

  async #inspectAddress(target: Target, place: Place, { host: address, port }: Place): Promise<Inspection> {
    try {
      const socket = await this.#tlsTo(target, 'look')({ host: address, port }, this.#connectTimeout)
      const certificate = socket.getPeerX509Certificate()
      socket.destroy()
      if (certificate === undefined) throw new Error('no certificate was shown')
      // The types say that it is an `Error`; it is the code of one.
      const distrust = socket.authorized ? undefined : String(socket.authorizationError)
      return { place, address, failure: undefined, certificate, distrust }
    } catch (cause) {
      return { place, address, failure: messageOf(cause), code: (cause as NodeJS.ErrnoException).code }
    }
  }

  #poolOf(target: Target): Pool {
    const key = JSON.stringify([target.certificateName, target.host, target.places])
    const known = this.#pools.get(key)
    if (known !== undefined) return known
    const made = this.#connecting(target)
    this.#pools.set(key, made)
    return made
  }

  /** undici gives the origin to the connector alone, which does not ask it where to go; every request says its own `Host`. */
  #connecting(target: Target): Pool {
    const connect = this.#tlsTo(target)
    return new Pool('https://target.invalid', {
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // The time of the whole request is what counts.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (_options, callback) => {
        this.#connect(target, connect).then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        )
      },
    })
  }

  /**
   * Its sessions are resumed: they were checked to be of this name. `look` is for who only looks at the certificate and
   * neither sends nor believes anything.
   */
  #tlsTo({ certificateName }: Target, how: 'trust' | 'look' = 'trust'): TlsTo {
    let session: Buffer | undefined
    return ({ host, port }, timeout) =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({
          host,
          port,
          servername: isIP(certificateName) === 0 ? certificateName : '',
          checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(certificateName, certificate),
          rejectUnauthorized: how === 'trust',
          secureContext: this.#secureContext,
          ALPNProtocols: ['http/1.1'],
          session,
        })
        const late = () => socket.destroy(tooLate(timeout))
        const timer = setTimeout(late, timeout)
        const settle = () => {
          clearTimeout(timer)
          this.#handshakes.delete(socket)
        }
        this.#handshakes.add(socket)
        socket
          .setNoDelay()
          .setKeepAlive(true, KEEP_ALIVE_MS)
          .on('session', (ticket: Buffer) => (session = ticket))
          .once('secureConnect', () => resolve(socket))
          .once('secureConnect', settle)
          .once('error', reject)
          .once('close', settle)
      })
  }

  async #connect(target: Target, connect: TlsTo): Promise<tls.TLSSocket> {
    const failures: string[] = []
    for (const place of target.places) {
      const addresses = await this.#permitted(place, failures)
      for (const [at, { host, port }] of addresses.entries()) {
        if (this.#closed || failures.length >= MAX_ADDRESSES) break
        const isLast = at === addresses.length - 1
        try {
          return await connect({ host, port }, this.#connectTimeout * (isLast ? 1 : SHARE_WITH_OTHERS))
        } catch (cause) {
          failures.push(`${host} port ${port}: ${messageOf(cause)}`)
        }
      }
    }
    throw new Error(failures.join('; ') || 'it has no address')
  }

  async #permitted({ host, port }: Place, failures: string[]): Promise<Place[]> {
    try {
      const found = isIP(host) === 0 ? await this.#lookup(host) : [host]
      const permitted = found.filter((address) => this.#addresses.permit(address))
      if (permitted.length < found.length) failures.push(`${host}: has an address that requests may not go to`)
      return permitted.map((address) => ({ host: address, port }))
    } catch (cause) {
      failures.push(`${host}: ${messageOf(cause)}`)
      return []
    }
  }
}

const tooLate = (ms: number): Error => Object.assign(new Error(`no connection within ${ms} ms`), { code: 'ETIMEDOUT' })

type TlsTo = (place: Place, timeout: number) => Promise<tls.TLSSocket>

function trusted(file: string): string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] }
  // Node 20 cannot tell which certificates it trusts beside its own (NODE_EXTRA_CA_CERTS).
  const standard = getCACertificates?.('default') ?? tls.rootCertificates
  return [...standard, readFileSync(file, 'utf8')]
}

async function answerOf(pool: Pool, target: Target, request: OutboundRequest, signal?: AbortSignal): Promise<Answer> {
  const { method, path, body, maxBytes } = request
  const deadline = new Deadline(request.timeout, signal)
  try {
    const response = await deadline.before(() =>
      sent(pool, {
        method,
        path,
        headers: {
          host: target.host,
          'accept-encoding': 'gzip',
          'user-agent': 'Hearth',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...request.headers,
        },
        body: body === undefined ? null : Buffer.from(body),
        signal: deadline.signal,
      }),
    )
    const text = decoded(response, maxBytes)
    text.once('close', () => deadline.lift())
    return { status: response.statusCode, headers: response.headers, body: text }
  } catch (cause) {
    deadline.lift()
    throw deadline.signal.aborted ? deadline.signal.reason : cause
  }
}

/** Once more where a connection that had been kept was closed just then: nobody has read the request. */
async function sent(pool: Pool, options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
  try {
    return await pool.request(options)
  } catch (cause) {
    if (options.method === 'POST' || !hungUp.has((cause as { code?: string }).code ?? '')) throw cause
    return pool.request(options)
  }
}

const hungUp = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** Aborts when the time is over, or with the caller's signal. It holds on to neither when it is lifted. */
class Deadline {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined

  constructor(ms: number, caller: AbortSignal | undefined) {
    this.#caller = caller
    const late = () => this.#controller.abort(new Error(`the whole answer was not there within ${Math.round(ms)} ms`))
    this.#timer = setTimeout(late, Math.max(0, ms))
    if (caller?.aborted === true) this.#follow()
    else caller?.addEventListener('abort', this.#follow)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** undici aborts a request only when it has a connection to it. */
  async before<T>(task: () => Promise<T>): Promise<T> {
    this.signal.throwIfAborted()
    const aborted = new Promise<never>((_resolve, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason as Error), { once: true })
    })
    return Promise.race([task(), aborted])
  }

  lift(): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#follow)
  }

  readonly #follow = (): void => this.#controller.abort(this.#caller?.reason)
}

function decoded({ body, headers }: Dispatcher.ResponseData, maxBytes: number): Readable {
  const encoding = headers['content-encoding'] ?? 'identity'
  const text = new Utf8Text()
  // It may fail before anybody reads it; whoever does is told then.
  text.on('error', () => {})
  const done = () => {}
  if (encoding === 'gzip') pipeline(body, new AtMost(maxBytes), createGunzip(), new AtMost(maxBytes), text, done)
  else if (encoding === 'identity') pipeline(body, new AtMost(maxBytes), text, done)
  else {
    body.on('error', done).destroy()
    text.destroy(new Error(`the answer has the encoding ${String(encoding)}, which was not asked for`))
  }
  return text
}

/** Compressed text is counted before and after: a few bytes can become gigabytes, and gigabytes can become nothing. */
class AtMost extends Transform {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    super()
    this.#maxBytes = maxBytes
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.#bytes += chunk.length
    if (this.#bytes > this.#maxBytes) callback(new Error(`the answer has more than ${this.#maxBytes} bytes`))
    else callback(null, chunk)
  }
}

class Utf8Text extends Transform {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })

  constructor() {
    super({ readableObjectMode: true, readableHighWaterMark: 2 })
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.#decode(callback, () => this.#decoder.decode(chunk, { stream: true }))
  }

  /** A turn later, when undici takes the connection for free: otherwise whoever asks again at once gets a second one. */
  override _flush(callback: TransformCallback): void {
    setImmediate(() => this.#decode(callback, () => this.#decoder.decode()))
  }

  #decode(callback: TransformCallback, decode: () => string): void {
    try {
      const text = decode()
      if (text !== '') this.push(text)
      callback()
    } catch (cause) {
      callback(new Error('the answer is not UTF-8', { cause }))
    }
  }
}

/** The whole of an answer's body. */
export async function textOf(body: Readable): Promise<string> {
  let text = ''
  for await (const chunk of body) text += chunk as string
  return text
}

/** Nobody reads it: the connection it came over is closed if it goes on. */
export function discard(body: Readable): '' {
  body.destroy()
  return ''
}

const isRedirect = (status: number): boolean => [301, 302, 303, 307, 308].includes(status)

const withoutBrackets = (host: string): string => (host.startsWith('[') ? host.slice(1, -1) : host)

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
