/** What stands at a server's name: a forwarder of bytes to where it listens, which can be cut and mended. */
import { createConnection, createServer, type Server, type Socket } from 'node:net'

export class Link {
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(
    readonly port: number,
    readonly target: number,
  ) {}

  async mend(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer((socket) => this.#forward(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(this.port, '127.0.0.1', resolve)
    })
    this.#server = server
  }

  /** Who connects is refused, and what was connected is cut off in the middle. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #forward(socket: Socket): void {
    const target = createConnection(this.target, '127.0.0.1')
    for (const [one, other] of [
      [socket, target],
      [target, socket],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => {}) // 'close' follows
      one.once('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  }
}

/** Taken by nobody a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
