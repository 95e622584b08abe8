import { randomBytes } from 'node:crypto'
import { afterAll } from '@jest/globals'
import pg from 'pg'
import { silentLogger } from '../../src/logger.js'
import { type Database, type DatabaseAddress, openDatabase } from '../../src/store/database.js'
import { SOCKET_VARIABLE, TEMPLATE } from './test-cluster.js'

export interface TestDatabase extends Database {
  /** For more connections or processes on the same database. */
  readonly address: Extract<DatabaseAddress, { socketFolder: string }>
  /** The same as a URL, for a `DATABASE_URL`. */
  readonly url: string
}

/**
 * A database of its own with the whole schema and no rows, for the tests of one file; dropped after them.
 * Call it once, at the top of the file: `const { db } = await testDatabase()`. `from` clones another database than the
 * migrated one (`template0`: an empty one).
 */
export async function testDatabase({ max = 10, from = TEMPLATE } = {}): Promise<TestDatabase> {
  const socketFolder = process.env[SOCKET_VARIABLE]
  if (socketFolder === undefined) throw new Error('run tests with `npm run jest`: its global set-up starts Postgres')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(socketFolder, `create database ${name} template ${from}`)
  const address = { socketFolder, user: 'hearth', database: name }
  const database = openDatabase(address, { max, log: silentLogger })
  afterAll(async () => {
    await database.close()
    await asAdmin(socketFolder, `drop database ${name} with (force)`)
  })
  return { ...database, address, url: `postgres:///${name}?host=${encodeURIComponent(socketFolder)}&user=hearth` }
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
