import type { ServerResponse } from 'node:http'

/**
 * An answer that is more than JSON with status 200: another status, bytes that are already serialised, headers.
 * A handler returns it in place of the value to serialise.
 */
export class Reply {
  constructor(
    readonly status: number,
    readonly body: string | Uint8Array,
    /** Replace the usual ones of the same name (written as there: `Content-Type`, `Cache-Control`). */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  static json(status: number, value: object, headers: Readonly<Record<string, string>> = {}): Reply {
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

/** The client may have gone meanwhile; then nothing happens. */
export function send(response: ServerResponse, reply: Reply): void {
  if (response.headersSent || response.destroyed) return
  const length = typeof reply.body === 'string' ? Buffer.byteLength(reply.body) : reply.body.length
  response.writeHead(reply.status, { ...usual, 'Content-Length': length, ...reply.headers })
  response.end(reply.body)
}

/** The answer to every OPTIONS, whatever the path: a browser asks for a day at most, and nothing is looked up. */
export const preflight = new Reply(200, '{}', { 'Access-Control-Max-Age': '86400' })
