import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { Link } from './link.js'
import type { TestDatabase } from './postgres.js'

/** A way to a database that can be cut, for one client and not for others. */
export class DatabaseProxy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'hearth-proxy-'))
  readonly #link: Link

  constructor(private readonly database: TestDatabase) {
    const far = join(database.address.socketFolder, NAME)
    this.#link = new Link({ path: join(this.#folder, NAME) }, { path: far })
  }

  /** For a `DATABASE_URL`. */
  get url(): string {
    const { database } = this.database.address
    return `postgres:///${database}?host=${encodeURIComponent(this.#folder)}&user=hearth`
  }

  open = () => this.#link.mend()

  /** Breaks all connections, and there are no new ones until it is opened again. */
  cut = () => this.#link.cut()

  async end(): Promise<void> {
    await this.cut()
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
