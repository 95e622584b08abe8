import { sql, type RawBuilder } from 'kysely'

/**
 * An array whose length Postgres does not see, for `unnest` in statements that are long to plan and often asked. Where it
 * sees that a list is short, a plan for that list looks cheaper to it than its plan for any list, which it takes to be of
 * ten: it plans each time, though the statement has a name, and that costs more than what the statement does.
 */
export const listOf = (values: readonly unknown[], type: 'text' | 'int' | 'bigint'): RawBuilder<readonly unknown[]> =>
  sql`(select ${[...values]}::${sql.raw(type)}[])`
