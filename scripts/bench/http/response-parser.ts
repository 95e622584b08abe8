/**
 * Reads HTTP/1.1 responses from a byte stream, one at a time: a head, then a body delimited by `Content-Length`, by
 * chunks, or by the end of the connection (RFC 9112, 6.3). No pipelining: bytes behind a complete response are an error.
 *
 * The load generator shares its cores with the server it measures, so the usual case, a whole response in one piece,
 * costs a search for the end of the head, one regular expression and one copy of the body.
 */

export interface Answer {
  readonly status: number
  readonly body: Buffer
  /** Whether the connection can carry another request. */
  readonly keepAlive: boolean
}

export class HttpSyntaxError extends Error {
  override readonly name = 'HttpSyntaxError'
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const CRLF = Buffer.from('\r\n')
const EMPTY = Buffer.alloc(0)
const MAX_HEAD_BYTES = 65_536
const MAX_BODY_BYTES = 512 * 1024 * 1024

type Expecting = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer' | 'close'

export class ResponseParser {
  #expecting: Expecting = 'head'
  /** Bytes of an unfinished line or head, carried over to the next push. */
  #carried = EMPTY
  #status = 0
  #keepAlive = true
  #parts: Buffer[] = []
  #received = 0
  /** Bytes still to come of the body or of the chunk. */
  #missing = 0

  /** True between responses. */
  get idle(): boolean {
    return this.#expecting === 'head' && this.#carried.length === 0
  }

  /**
   * Takes the next bytes, which may be overwritten after the call. Returns the response they complete, if they do.
   * @throws HttpSyntaxError when they are no HTTP response
   */
  push(bytes: Buffer): Answer | undefined {
    let rest = this.#carried.length === 0 ? bytes : Buffer.concat([this.#carried, bytes])
    this.#carried = EMPTY
    for (;;) {
      const taken = this.#step(rest)
      if (typeof taken === 'object') return this.#complete(taken.behind)
      if (taken < 0) return this.#carry(rest)
      rest = rest.subarray(taken)
      if (rest.length === 0 && !this.#bodyIsWhole()) return undefined
    }
  }

  /** The connection has ended. Returns the response whose end that was, if it was one. */
  end(): Answer | undefined {
    if (this.#expecting !== 'close') return undefined
    this.#keepAlive = false
    return this.#complete(EMPTY)
  }

  /** Handles one element at the start of `rest`: how many bytes it took (-1: it is not whole yet), or what lies behind the response. */
  #step(rest: Buffer): number | { behind: Buffer } {
    switch (this.#expecting) {
      case 'head':
        return this.#head(rest)
      case 'length':
        return this.#missing <= rest.length ? this.#lastOfLength(rest) : this.#body(rest)
      case 'close':
        return this.#body(rest)
      case 'chunk':
        return this.#chunk(rest)
      case 'chunk-size':
        return this.#line(rest, (line) => this.#chunkSize(line))
      case 'chunk-end':
        return this.#line(rest, (line) => this.#chunkEnd(line))
      case 'trailer':
        return this.#trailer(rest)
    }
  }

  #bodyIsWhole(): boolean {
    return this.#expecting === 'length' && this.#missing === 0
  }

  #carry(rest: Buffer): undefined {
    if (rest.length > MAX_HEAD_BYTES) throw new HttpSyntaxError('a head or line of more than 64 KB')
    this.#carried = Buffer.from(rest)
  }

  #head(rest: Buffer): number {
    const end = rest.indexOf(END_OF_HEAD)
    if (end < 0) return -1
    const head = rest.toString('latin1', 0, end)
    const status = /^HTTP\/1\.([01]) (\d{3})/.exec(head)
    if (status === null) throw new HttpSyntaxError(`not an HTTP response: ${JSON.stringify(head.slice(0, 60))}`)
    this.#status = Number(status[2])
    this.#keepAlive = !/\r\nconnection:[ \t]*close/i.test(head) && status[1] === '1'
    if (this.#status >= 200) this.#delimit(head)
    return end + 4
  }

  /** Decides how the body of a final response ends. (An interim one, 1xx, has no body and another head follows.) */
  #delimit(head: string): void {
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(head)
    if (this.#status === 204 || this.#status === 304) this.#expectBody('length', 0)
    else if (/\r\ntransfer-encoding:[^\r]*chunked/i.test(head)) this.#expectBody('chunk-size', 0)
    else if (length !== null) this.#expectBody('length', Number(length[1]))
    else this.#expectBody('close', 0)
  }

  #expectBody(expecting: Expecting, missing: number): void {
    this.#expecting = expecting
    this.#missing = missing
  }

  #lastOfLength(rest: Buffer): { behind: Buffer } {
    const behind = rest.subarray(this.#missing)
    this.#keep(rest.subarray(0, this.#missing))
    return { behind }
  }

  #body(rest: Buffer): number {
    this.#keep(rest)
    this.#missing -= rest.length
    return rest.length
  }

  #chunk(rest: Buffer): number {
    const taken = Math.min(rest.length, this.#missing)
    this.#keep(rest.subarray(0, taken))
    this.#missing -= taken
    if (this.#missing === 0) this.#expecting = 'chunk-end'
    return taken
  }

  #line(rest: Buffer, handle: (line: string) => void): number {
    const end = rest.indexOf(CRLF)
    if (end < 0) return -1
    handle(rest.toString('latin1', 0, end))
    return end + 2
  }

  #chunkSize(line: string): void {
    const size = /^([0-9a-f]{1,8})[ \t]*(;|$)/i.exec(line)
    if (size === null) throw new HttpSyntaxError(`not a chunk size: ${JSON.stringify(line.slice(0, 60))}`)
    this.#missing = parseInt(size[1]!, 16)
    this.#expecting = this.#missing === 0 ? 'trailer' : 'chunk'
  }

  #chunkEnd(line: string): void {
    if (line !== '') throw new HttpSyntaxError('a chunk longer than its size')
    this.#expecting = 'chunk-size'
  }

  #trailer(rest: Buffer): number | { behind: Buffer } {
    const end = rest.indexOf(CRLF)
    return end === 0 ? { behind: rest.subarray(2) } : end < 0 ? -1 : end + 2
  }

  #keep(bytes: Buffer): void {
    this.#received += bytes.length
    if (this.#received > MAX_BODY_BYTES) throw new HttpSyntaxError('a body of more than 512 MB')
    this.#parts.push(Buffer.from(bytes))
  }

  #complete(behind: Buffer): Answer {
    if (behind.length > 0) throw new HttpSyntaxError('bytes behind the response')
    const body = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#expecting = 'head'
    this.#parts = []
    this.#received = 0
    return { status: this.#status, body, keepAlive: this.#keepAlive }
  }
}
