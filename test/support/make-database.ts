import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { silentLogger } from '../../src/logger.js'
import { type Database, type DatabaseAddress, openDatabase } from '../../src/store/database.js'
import { SOCKET_VARIABLE, TEMPLATE } from './test-cluster.js'

export interface MadeDatabase extends Database {
  /** For more connections or processes on the same database. */
  readonly address: Extract<DatabaseAddress, { socketFolder: string }>
  /** The same as a URL, for a `DATABASE_URL`. */
  readonly url: string
  /** Closes it, and it is gone. */
  drop(): Promise<void>
}

/** A new database in the cluster of test-cluster.ts: with the whole schema, unless another template is named. */
export async function makeDatabase({ max = 10, from = TEMPLATE } = {}): Promise<MadeDatabase> {
  const socketFolder = process.env[SOCKET_VARIABLE]
  if (socketFolder === undefined) throw new Error('run tests with `npm run jest`: its global set-up starts Postgres')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(socketFolder, `create database ${name} template ${from}`)
  const address = { socketFolder, user: 'hearth', database: name }
  const database = openDatabase(address, { max, log: silentLogger })
  return {
    ...database,
    address,
    url: `postgres:///${name}?host=${encodeURIComponent(socketFolder)}&user=hearth`,
    async drop() {
      await database.close()
      await asAdmin(socketFolder, `drop database ${name} with (force)`)
    },
  }
}

async function asAdmin(host: string, statement: string): Promise<void> {
  const client = new pg.Client({ host, user: 'hearth', database: 'postgres' })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
