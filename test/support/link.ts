/** A TCP port in front of another, that can be cut: what is open breaks off, and nobody answers until it is mended. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll } from '@jest/globals'

export class Link {
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(
    readonly port: number,
    private readonly target: number,
  ) {}

  async mend(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer((near) => this.#join(near, connect(this.target, '127.0.0.1')))
    this.#server = server
    await once(server.listen(this.port, '127.0.0.1'), 'listening')
  }

  async cut(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(server, 'close')
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

const links: Link[] = []
afterAll(() => Promise.all(links.map((link) => link.cut())))

/** Mended, and cut after the tests of the file. */
export async function linkTo(target: number, port: number): Promise<Link> {
  const link = new Link(port, target)
  links.push(link)
  await link.mend()
  return link
}
