import { describe, expect, it } from '@jest/globals'
import { filterBody, MAX_FILTERS, putFilter } from '../../src/store/filters.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()

describe('stored filters', () => {
  it('have one id for one text, also when they are stored at once', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => putFilter(db, '@a:b', `{"n":${i % 5}}`)))
    const bodies = await Promise.all(ids.map((id) => filterBody(db, '@a:b', id as number)))
    expect(bodies).toEqual(Array.from({ length: 20 }, (_, i) => `{"n":${i % 5}}`))
    expect(await putFilter(db, '@a:b', '{"n":0}')).toBe(await putFilter(db, '@a:b', '{"n":0}'))
  })

  it('are no more than so many', async () => {
    const rows = Array.from({ length: MAX_FILTERS }, (_, i) => ({ user_id: '@c:d', filter_id: i, body: `{"n":${i}}` }))
    await db.insertInto('filter').values(rows).execute()
    expect(await putFilter(db, '@c:d', '{"n":"more"}')).toBe('too many')
    expect(await putFilter(db, '@c:d', '{"n":7}')).toBe(7)
  })
})
