/** A server on loopback that does what a test says, and remembers what it was asked. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { TestAuthority } from './certificates.js'

export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  /** What the client said it expects; false where it sent no SNI. */
  readonly sni: string | false
  readonly body: string
}

export type Script = (asked: Asked, response: ServerResponse) => void | Promise<void>

export class HttpsServer {
  readonly asked: Asked[] = []
  connections = 0
  script: Script = (_asked, response) => json(response, {})

  private constructor(private readonly server: Server) {
    server.on('secureConnection', () => this.connections++)
    server.on('tlsClientError', () => {})
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response))
  }

  static async listening(authority: TestAuthority, names: readonly string[], host = '127.0.0.1', port = 0) {
    const server = createServer({ ...authority.issue(...names), keepAliveTimeout: 60_000 })
    await once(server.listen(port, host), 'listening')
    return new HttpsServer(server)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  /** As a server that has gone down: what is open breaks off. */
  async close(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, 'close')
  }

  dropConnections(): void {
    this.server.closeAllConnections()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {})
    let body = ''
    try {
      for await (const chunk of request.setEncoding('utf8')) body += chunk as string
    } catch {
      return
    }
    const { method = '', url = '', headers, socket } = request
    const asked = { method, url, headers, sni: (socket as TLSSocket & { servername: string | false }).servername, body }
    this.asked.push(asked)
    await this.script(asked, response)
  }
}

export function json(response: ServerResponse, value: unknown, status = 200, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
}
