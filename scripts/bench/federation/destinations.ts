/** Servers that take transactions and do nothing else, many in this process: each has a port and so a name of its own. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TestAuthority } from '../../../test/support/certificates.js'
import { json } from '../../../test/support/https-server.js'
import { concurrently } from '../concurrently.js'

export class Destinations {
  readonly names: readonly string[]
  readonly #sockets = new Set<Socket>()
  #flight: Flight | undefined

  private constructor(
    readonly https: HttpsServer,
    readonly ports: readonly Server[],
  ) {
    this.names = ports.map((server) => nameOf((server.address() as AddressInfo).port))
    for (const server of ports) server.on('connection', (socket) => this.#connected(socket))
    https.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#take(request, response))
    https.on('tlsClientError', () => {})
  }

  static async listening(authority: TestAuthority, count: number): Promise<Destinations> {
    const https = createHttps({ ...authority.issue('localhost'), keepAliveTimeout: 120_000 })
    return new Destinations(https, await concurrently(count, 50, () => listening()))
  }

  /** The clock runs until these have a transaction that holds the marker. */
  expect(marker: string, names: readonly string[]): Flight {
    return (this.#flight = new Flight(marker, names))
  }

  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.dropConnections()
    await Promise.all(this.ports.map((server) => closed(server)))
  }

  #connected(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
    this.https.emit('connection', socket)
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {})
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      return
    }
    this.#flight?.arrived(nameOf(request.socket.localPort!), Buffer.concat(chunks))
    json(response, { pdus: {} })
  }
}

/** An event on its way to many servers. */
export class Flight {
  /** Milliseconds after the beginning, in order of arrival. */
  readonly latencies: number[] = []
  readonly done: Promise<void>
  #end = () => {}
  readonly #began = performance.now()
  readonly #waiting: Set<string>

  constructor(
    readonly marker: string,
    names: readonly string[],
  ) {
    this.#waiting = new Set(names)
    this.done = new Promise((resolve) => (this.#end = resolve))
  }

  get missing(): number {
    return this.#waiting.size
  }

  arrived(name: string, body: Buffer): void {
    if (!body.includes(this.marker) || !this.#waiting.delete(name)) return
    this.latencies.push(performance.now() - this.#began)
    if (this.#waiting.size === 0) this.#end()
  }

  giveUp(): void {
    this.#end()
  }
}

/** Servers that do not answer: where nobody listens, and where somebody does and says nothing. */
export class DeadServers {
  private constructor(
    readonly names: readonly string[],
    private readonly silent: readonly Server[],
  ) {}

  static async make(count: number, { silent }: { readonly silent: number }): Promise<DeadServers> {
    const servers = await concurrently(Math.min(count, silent), 50, () => listening())
    for (const server of servers) server.on('connection', (socket) => socket.on('error', () => {}))
    const names = servers.map((server) => nameOf((server.address() as AddressInfo).port))
    // Below the ports that are given to outgoing connections.
    const first = randomInt(1_100, 15_000)
    return new DeadServers(
      [...names, ...Array.from({ length: count - names.length }, (_, i) => nameOf(first + i))],
      servers,
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.silent.map((server) => closed(server)))
  }
}

const nameOf = (port: number): string => `localhost:${port}`

async function listening(): Promise<Server> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

/** Connections that are open are left to whoever has them. */
async function closed(server: Server): Promise<void> {
  server.close()
  server.unref()
}
