import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { createStores } from '../../src/store/stores.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const stores = () => createStores(db, { cacheMb: 16, identityKey: randomBytes(32) })

describe('the number of a state key', () => {
  it('is had by what is asked for in every room before any event has it, so that it is asked for once', async () => {
    const { keys } = stores()
    const found = await keys.find([
      ['m.room.policy', ''],
      ['m.room.server_acl', ''],
    ])
    expect(new Set(found.values()).size).toBe(2)
    expect(keys.known('m.room.policy', '')).toBeDefined()
    expect(await stores().keys.find([['m.room.server_acl', '']])).toEqual(
      new Map([...found].filter(([key]) => key.includes('server_acl'))),
    )
  })

  it('is not made by looking for it otherwise', async () => {
    const { keys } = stores()
    expect(await keys.find([['m.room.policy', 'another']])).toEqual(new Map())
    expect(await stores().keys.find([['m.room.policy', 'another']])).toEqual(new Map())
  })
})
