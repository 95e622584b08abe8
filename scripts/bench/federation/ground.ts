/**
 * What the scenarios of federation stand on: a Postgres as a Hearth would start it, and Hearths on it that know other
 * servers of this machine by `localhost:PORT` and trust the certificates of one test authority.
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { parseSigningKeyFile, type SigningKey } from '../../../src/protocol/signing.js'
import { TestAuthority } from '../../../test/support/certificates.js'
import { freePort } from '../../../test/support/free-port.js'
import { makeDatabase, type MadeDatabase } from '../../../test/support/make-database.js'
import { startTestPostgres } from '../../../test/support/test-cluster.js'
import { cpuSecondsOf } from '../machine.js'
import { Population } from '../population.js'
import type { Bench } from '../scenario.js'
import { loopbackEndpoint, type Target } from '../target.js'

const main = fileURLToPath(new URL('../../../src/main.js', import.meta.url))
const START_MS = 60_000
const END_MS = 20_000
/** For Node, of the Hearths: `--cpu-prof --cpu-prof-dir=/tmp/profiles`. */
const nodeArguments = (process.env.BENCH_NODE_ARGUMENTS ?? '').split(' ').filter((word) => word !== '')

export class Ground {
  readonly authority = new TestAuthority()
  readonly #folder = mkdtempSync(join(tmpdir(), 'hearth-bench-'))
  readonly #hearths: Hearth[] = []

  private constructor(readonly postgres: { stop(): Promise<void> }) {
    const { cert, key } = this.authority.issue('localhost', '127.0.0.1')
    for (const [name, text] of Object.entries({ ca: this.authority.cert, cert, key })) {
      writeFileSync(this.#file(name), text)
    }
  }

  static async prepare(): Promise<Ground> {
    return new Ground(await startTestPostgres({ durable: true }))
  }

  #file(name: string): string {
    return join(this.#folder, `${name}.pem`)
  }

  async hearth(label: string, environment: Readonly<Record<string, string>> = {}): Promise<Hearth> {
    const [plain, secure] = [await freePort(), await freePort()]
    const database = await makeDatabase({ max: 2 })
    const data = join(this.#folder, `data-${this.#hearths.length}`)
    const child = spawn(process.execPath, [...nodeArguments, main], {
      cwd: this.#folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        PATH: process.env.PATH ?? '',
        SERVER_NAME: `localhost:${secure}`,
        LISTEN: `127.0.0.1:${plain}`,
        TLS_LISTEN: `127.0.0.1:${secure}`,
        TLS_CERT_FILE: this.#file('cert'),
        TLS_KEY_FILE: this.#file('key'),
        DATABASE_URL: database.url,
        DATA_DIR: data,
        REGISTRATION: 'open',
        RATE_LIMITS: 'off',
        TRUSTED_CA_FILE: this.#file('ca'),
        OUTBOUND_ALLOW: 'all',
        LOG_LEVEL: 'fatal',
        ...environment,
      },
    })
    const baseUrl = `http://127.0.0.1:${plain}`
    const target = {
      label,
      endpoint: await loopbackEndpoint(new URL(baseUrl)),
      pid: child.pid!,
      databaseUrl: database.url,
    }
    const hearth = new Hearth(`localhost:${secure}`, target, database, child, join(data, 'signing.key'))
    this.#hearths.push(hearth)
    await answers(baseUrl, child)
    await hearth.client.connect()
    return hearth
  }

  async close(): Promise<void> {
    for (const hearth of this.#hearths) await hearth.close()
    await this.postgres.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export class Hearth {
  /** For looks into the database. */
  readonly client: pg.Client

  constructor(
    /** Its server name. */
    readonly name: string,
    readonly target: Target & { readonly pid: number; readonly databaseUrl: string },
    private readonly database: MadeDatabase,
    private readonly child: ChildProcess,
    private readonly keyFile: string,
  ) {
    this.client = new pg.Client({ connectionString: database.url })
  }

  get signingKey(): SigningKey {
    return parseSigningKeyFile(readFileSync(this.keyFile, 'utf8'))
  }

  population({ progress, options, signal }: Bench<unknown>): Population {
    return new Population(this.target, progress, options.roomVersion, signal)
  }

  /** The first column of the only row. */
  async value<T>(query: string, values: readonly unknown[] = []): Promise<T> {
    const { rows } = await this.client.query({ text: query, values: [...values], rowMode: 'array' })
    return (rows as [T][])[0]![0]
  }

  /** CPU time of its Postgres so far, of all processes of it that are there. */
  async postgresCpuSeconds(): Promise<number> {
    const { rows } = await this.client.query<{ pid: number }>('select pid from pg_stat_activity')
    return rows.reduce((seconds, { pid }) => seconds + (cpuSecondsOf(pid) ?? 0), 0)
  }

  /** Asks until it holds. @throws after `ms` */
  async until(what: string, query: string, { values = [] as readonly unknown[], ms = 120_000, every = 10 } = {}) {
    const end = performance.now() + ms
    while (!(await this.value<boolean>(query, values))) {
      if (performance.now() > end) throw new Error(`${this.target.label}: ${what} took longer than ${ms / 1000} s`)
      await new Promise((resolve) => setTimeout(resolve, every))
    }
  }

  async close(): Promise<void> {
    await this.client.end()
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM')
      const late = setTimeout(() => this.child.kill('SIGKILL'), END_MS)
      await once(this.child, 'exit')
      clearTimeout(late)
    }
    await this.database.drop()
  }
}

async function answers(baseUrl: string, child: ChildProcess): Promise<void> {
  const end = performance.now() + START_MS
  while (performance.now() < end && child.exitCode === null) {
    const answer = await fetch(`${baseUrl}/_matrix/client/versions`).catch(() => undefined)
    if (answer?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  child.kill('SIGKILL')
  throw new Error('the Hearth did not start')
}
