/**
 * A keep-alive HTTP/1.1 connection that carries one request at a time, as text prepared by the caller.
 *
 * It exists because the generator shares its cores with the server: `node:http` and its Agent cost more per request than
 * some of the servers measured. All connections of the process read into one buffer; what a response keeps is copied.
 */

import { connect, type Socket } from 'node:net'
import { ResponseParser, type Answer } from './response-parser.js'

/** Where a server listens. `address` is a loopback literal (see `target.ts`). */
export interface Endpoint {
  readonly address: string
  readonly port: number
  /** The `Host` header's value. */
  readonly host: string
  /** The path of the base URL without a slash at its end, often empty. */
  readonly basePath: string
}

interface Exchange {
  readonly text: string
  readonly resolve: (answer: Answer) => void
  readonly reject: (cause: Error) => void
  /** Set when a kept-alive connection carried it: the server may have closed that while the request was on its way. */
  mayRetry: boolean
}

const sharedReadBuffer = Buffer.allocUnsafeSlow(65_536)

export class Connection {
  #socket: Socket | undefined
  #parser = new ResponseParser()
  #exchange: Exchange | undefined
  #cause: Error | undefined
  #closed = false

  constructor(
    readonly endpoint: Endpoint,
    /** How long a request may go without a byte in either direction. */
    readonly timeoutMs = 60_000,
  ) {}

  /** Whether a request waits for its answer, over a connection that stands. */
  get busy(): boolean {
    return this.#exchange !== undefined && this.#socket?.readyState === 'open'
  }

  /** Sends a request made by `requestText`. Rejects when the connection breaks, times out or is closed meanwhile. */
  request(text: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#exchange !== undefined) throw new Error('a request is under way on this connection')
      if (this.#closed) throw new ConnectionClosed()
      const reused = this.#socket !== undefined
      this.#exchange = { text, resolve, reject, mayRetry: reused && /^(GET|PUT) /.test(text) }
      this.#write(text)
    })
  }

  /** A request that waits is rejected with `ConnectionClosed`. */
  close(): void {
    this.#closed = true
    this.#cause = new ConnectionClosed()
    this.#socket?.destroy()
  }

  #write(text: string): void {
    this.#socket ??= this.#open()
    this.#socket.write(text)
  }

  #open(): Socket {
    this.#parser = new ResponseParser()
    this.#cause = undefined
    const { address: host, port } = this.endpoint
    const socket = connect({ host, port, noDelay: true, onread: this.#reader() })
    socket.setTimeout(this.timeoutMs, () => this.#timedOut(socket))
    socket.on('error', (cause) => (this.#cause = cause))
    socket.on('close', () => this.#ended(socket))
    return socket
  }

  #reader() {
    const callback = (length: number): boolean => {
      this.#read(sharedReadBuffer.subarray(0, length))
      return true
    }
    return { buffer: sharedReadBuffer, callback }
  }

  #read(bytes: Buffer): void {
    if (this.#exchange !== undefined) this.#exchange.mayRetry = false
    try {
      const answer = this.#parser.push(bytes)
      if (answer !== undefined) this.#answered(answer)
    } catch (cause) {
      this.#cause = cause as Error
      this.#socket?.destroy()
    }
  }

  #answered(answer: Answer): void {
    const exchange = this.#exchange
    this.#exchange = undefined
    if (!answer.keepAlive) this.#drop()
    exchange?.resolve(answer)
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }

  #timedOut(socket: Socket): void {
    if (this.#exchange !== undefined) this.#cause = new Error(`no answer for ${this.timeoutMs / 1000} s`)
    socket.destroy()
  }

  #ended(socket: Socket): void {
    if (socket !== this.#socket) return
    this.#socket = undefined
    const last = this.#cause === undefined ? this.#parser.end() : undefined
    if (last !== undefined) this.#answered(last)
    else if (this.#exchange !== undefined) this.#broken(this.#exchange)
  }

  #broken(exchange: Exchange): void {
    if (exchange.mayRetry && !this.#closed) {
      exchange.mayRetry = false
      this.#write(exchange.text)
      return
    }
    this.#exchange = undefined
    exchange.reject(this.#cause ?? new Error('the server closed the connection without an answer'))
  }
}

export class ConnectionClosed extends Error {
  override readonly name = 'ConnectionClosed'
  constructor() {
    super('the connection was closed by the generator')
  }
}

/** A whole request as it goes over the wire. `path` is below the endpoint's base path and already percent-encoded. */
export const requestText = (endpoint: Endpoint, method: string, path: string, token?: string, body?: string): string =>
  requestWith(endpoint, method, path, token === undefined ? undefined : `Bearer ${token}`, body)

/** The same with an `Authorization` header of any scheme. */
export function requestWith(
  endpoint: Endpoint,
  method: string,
  path: string,
  credentials: string | undefined,
  body?: string,
): string {
  const authorization = credentials === undefined ? '' : `Authorization: ${credentials}\r\n`
  const content =
    body === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  const head = `${method} ${endpoint.basePath}${path} HTTP/1.1\r\nHost: ${endpoint.host}\r\n${authorization}${content}\r\n`
  return body === undefined ? head : head + body
}
