import { afterAll } from '@jest/globals'
import { makeDatabase, type MadeDatabase } from './make-database.js'
import { TEMPLATE } from './test-cluster.js'

export type TestDatabase = Omit<MadeDatabase, 'drop'>

/**
 * A database of its own with the whole schema and no rows, for the tests of one file; dropped after them.
 * Call it once, at the top of the file: `const { db } = await testDatabase()`. `from` clones another database than the
 * migrated one (`template0`: an empty one).
 */
export async function testDatabase({ max = 10, from = TEMPLATE } = {}): Promise<TestDatabase> {
  const { drop, ...database } = await makeDatabase({ max, from })
  afterAll(drop)
  return database
}
