import { describe, expect, it } from '@jest/globals'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()

describe('the migrated template', () => {
  it('has no server row before the first start', async () => {
    expect(await db.selectFrom('server').selectAll().execute()).toEqual([])
  })
})
