import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import type { TestDatabase } from './postgres.js'

/** A way to a database that can be cut, for one client and not for others. */
export class DatabaseProxy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'hearth-proxy-'))
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(private readonly database: TestDatabase) {}

  /** For a `DATABASE_URL`. */
  get url(): string {
    const { database } = this.database.address
    return `postgres:///${database}?host=${encodeURIComponent(this.#folder)}&user=hearth`
  }

  async open(): Promise<void> {
    const target = join(this.database.address.socketFolder, NAME)
    const server = createServer((near) => {
      const far = connect(target)
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => {}).on('close', () => other.destroy() && this.#sockets.delete(one))
        one.pipe(other)
      }
    })
    await new Promise<void>((done) => server.listen(join(this.#folder, NAME), done))
    this.#server = server
  }

  /** Breaks all connections, and there are no new ones until it is opened again. */
  async cut(): Promise<void> {
    const closed = new Promise((done) => this.#server?.close(done))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    this.#server = undefined
  }

  async end(): Promise<void> {
    if (this.#server !== undefined) await this.cut()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

const NAME = '.s.PGSQL.5432'

const proxies: DatabaseProxy[] = []
afterAll(() => Promise.all(proxies.map((one) => one.end())))

/** Open, and taken away after the tests of the file. */
export async function databaseProxy(database: TestDatabase): Promise<DatabaseProxy> {
  const made = new DatabaseProxy(database)
  proxies.push(made)
  await made.open()
  return made
}
