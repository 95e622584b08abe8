/** Filters that clients stored, as they wrote them. They never change: a filter with an id may be remembered for good. */
import { sql, type Kysely } from 'kysely'
import type { LogTables } from './log-tables.js'

/** What one user may have stored; clients have a handful. */
export const MAX_FILTERS = 1_000

/** The id of a filter; the same text has the same id. 'too many': the user has as many others as they may. */
export async function putFilter(db: Kysely<LogTables>, userId: string, body: string): Promise<number | 'too many'> {
  const known = await filterIdOf(db, userId, body)
  if (known !== undefined) return known
  for (;;) {
    const { rows } = await sql<{ filter_id: number }>`
      insert into filter (user_id, filter_id, body)
      select ${userId}, coalesce(max(filter_id) + 1, 0), ${body}::text from filter where user_id = ${userId}
      having count(*) < ${MAX_FILTERS}
      on conflict do nothing
      returning filter_id
    `.execute(db)
    if (rows[0] !== undefined) return rows[0].filter_id
    // Somebody else took the number just now, or there is no room.
    const made = await filterIdOf(db, userId, body)
    if (made !== undefined) return made
    if ((await countOf(db, userId)) >= MAX_FILTERS) return 'too many'
  }
}

async function filterIdOf(db: Kysely<LogTables>, userId: string, body: string): Promise<number | undefined> {
  const row = await db
    .selectFrom('filter')
    .select('filter_id')
    .where('user_id', '=', userId)
    .where('body', '=', body)
    .orderBy('filter_id')
    .limit(1)
    .executeTakeFirst()
  return row?.filter_id
}

async function countOf(db: Kysely<LogTables>, userId: string): Promise<number> {
  const { count } = await db
    .selectFrom('filter')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .executeTakeFirstOrThrow()
  return count
}

export async function filterBody(db: Kysely<LogTables>, userId: string, filterId: number): Promise<string | undefined> {
  const row = await db
    .selectFrom('filter')
    .select('body')
    .where('user_id', '=', userId)
    .where('filter_id', '=', filterId)
    .executeTakeFirst()
  return row?.body
}
