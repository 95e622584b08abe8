/**
 * The processes that share a database, as it knows them: each has a connection that lives as long as it does, by which it
 * hears of the others (open-log.ts), and goes by the name of that. What a process holds is free when its connection is
 * gone, and so at once when it was killed. A process that is stopped, or cut off from the database unnoticed, has its name
 * for longer: what it holds has an end besides.
 */
import { randomUUID } from 'node:crypto'
import { sql, type RawBuilder } from 'kysely'

const prefix = 'hearth log listener'

/** Postgres cuts names of connections at 63 bytes. */
export const newProcessName = (): string => `${prefix} ${randomUUID()}`

const connections = sql`pg_stat_activity where datname = current_database()`

export const countOfProcesses = sql<number>`(
  select count(*)::int from ${connections} and application_name like ${`${prefix}%`})`

/** Of a name that is no process's, nobody knows. */
export const isGone = (name: RawBuilder<unknown>): RawBuilder<boolean> => sql<boolean>`(
  ${name} like ${`${prefix} %`} and not exists (select from ${connections} and application_name = ${name}))`
