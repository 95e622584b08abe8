/**
 * What stands in front of a server, a forwarder of bytes, and can be cut: what is open breaks off, who connects is refused.
 * Or held up: who connects is connected, and nothing gets through until it is mended.
 */
import { connect, createServer, type ListenOptions, type NetConnectOpts, type Server, type Socket } from 'node:net'

export class Link {
  /** Each with the one its bytes go to. */
  readonly #sockets = new Map<Socket, Socket>()
  #server: Server | undefined
  #isHeldUp = false
  /** When somebody came through for the first time since it was mended, as `performance.now()`. */
  firstUsed: number | undefined

  constructor(
    private readonly near: ListenOptions,
    private readonly far: NetConnectOpts,
  ) {}

  /** It is cut until it is mended for the first time. */
  async mend(): Promise<void> {
    if (this.#isHeldUp) for (const [one, other] of this.#sockets) one.pipe(other)
    this.#isHeldUp = false
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
    this.#isHeldUp = false
    this.firstUsed = undefined
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of this.#sockets.keys()) socket.destroy()
    await closed
  }

  /** Of a link that is not cut. */
  holdUp(): void {
    this.#isHeldUp = true
    for (const [one, other] of this.#sockets) one.unpipe(other)
  }

  #join(near: Socket, far: Socket): void {
    this.firstUsed ??= performance.now()
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.set(one, other)
      one.on('error', () => {}).on('close', () => other.destroy() && this.#sockets.delete(one))
      if (!this.#isHeldUp) one.pipe(other)
    }
  }
}

/** Between two ports of this machine. */
export const linkOfPorts = (near: number, far: number): Link =>
  new Link({ host: '127.0.0.1', port: near }, { host: '127.0.0.1', port: far })
