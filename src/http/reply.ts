import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const none: Readonly<Record<string, string>> = {}

/**
 * An answer that is more than JSON with status 200: another status, bytes that are already serialised, headers.
 * A handler returns it in place of the value to serialise.
 */
export class Reply {
  constructor(
    readonly status: number,
    readonly body: string | Uint8Array,
    /** Replace the usual ones of the same name (written as there: `Content-Type`, `Cache-Control`). */
    readonly headers: Readonly<Record<string, string>> = none,
  ) {}

  static json(status: number, value: object, headers: Readonly<Record<string, string>> = none): Reply {
    return new Reply(status, JSON.stringify(value), headers)
  }
}

/**
 * On every answer there is, errors included: browsers show a page nothing of an answer without them.
 * https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
 */
const cors = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'GET, POST, PUT, DELETE, OPTIONS',
  'Access-Control-Allow-Headers': 'X-Requested-With, Content-Type, Authorization',
}

const usual = { ...cors, 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }
const usualPairs = pairsOf(usual)

/** The client may have gone meanwhile; then nothing happens. */
export function send(response: ServerResponse, { status, body, headers }: Reply): void {
  if (response.headersSent || response.destroyed) return
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  if (headers['Connection'] === 'close' && response.socket !== null) lingerOn(response.socket)
  const others = headers === none ? usualPairs : pairsOf({ ...usual, ...headers })
  response.writeHead(status, [...others, 'Content-Length', String(length)])
  if (typeof body === 'string') writeWhole(response, body, length)
  response.end(typeof body === 'string' ? undefined : body)
}

/**
 * The head and the body as one string. `end(body)` would add an empty one, and two go another way through Node and libuv
 * that costs 10 µs more. What is ASCII is copied and not encoded.
 */
function writeWhole(response: ServerResponse, body: string, length: number): void {
  const { socket } = response
  // Or `write` holds it back, for more to come.
  socket?.cork()
  response.write(body, length === body.length ? 'latin1' : 'utf8')
  socket?.uncork()
}

/** In ms. */
const LINGER = 1_000

/**
 * Who is still sending when the connection is closed is told that it is broken, and may never read the answer. So after it
 * nothing more is written, and what still comes is thrown away for a moment. Node calls `destroySoon` when the answer is out.
 */
function lingerOn(socket: Socket): void {
  socket.destroySoon = () => {
    socket.end()
    const ending = setTimeout(() => socket.destroy(), LINGER)
    socket.once('close', () => clearTimeout(ending))
  }
}

/** Names and values one after the other, which Node takes as they are. */
function pairsOf(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flat()
}

/** The answer to every OPTIONS, whatever the path: a browser asks for a day at most, and nothing is looked up. */
export const preflight = new Reply(200, '{}', { 'Access-Control-Max-Age': '86400' })
