/** What stands in front of a server, a forwarder of bytes, and can be cut: what is open breaks off, who connects is refused. */
import { connect, createServer, type ListenOptions, type NetConnectOpts, type Server, type Socket } from 'node:net'

export class Link {
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(
    private readonly near: ListenOptions,
    private readonly far: NetConnectOpts,
  ) {}

  /** It is cut until it is mended for the first time. */
  async mend(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer((near) => this.#join(near, connect(this.far)))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(this.near, resolve)
    })
    this.#server = server
  }

  async cut(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #join(near: Socket, far: Socket): void {
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => {}).on('close', () => other.destroy() && this.#sockets.delete(one))
      one.pipe(other)
    }
  }
}

/** Between two ports of this machine. */
export const linkOfPorts = (near: number, far: number): Link =>
  new Link({ host: '127.0.0.1', port: near }, { host: '127.0.0.1', port: far })
