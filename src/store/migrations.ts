import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Kysely, type Migration, Migrator, sql } from 'kysely'
import { packageFolder } from '../package-folder.js'
import type { Tables } from './tables.js'

/**
 * The schema is the files of `schema/`, run once each in the order of their names, each in a transaction of its own.
 * They are only ever appended. Processes that start together take turns: the migrator holds an advisory lock while it
 * looks what is missing and runs it.
 */

const MIGRATION_TABLE = 'schema_migration'

/** Runs what is missing and returns the names of the files that were run. */
export async function migrate(db: Kysely<Tables>, folder = join(packageFolder, 'schema')): Promise<string[]> {
  const known = await migrations(db, folder)
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => known },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  })
  const done: string[] = []
  for (;;) {
    const { error, results = [] } = await migrator.migrateUp()
    if (error !== undefined) throw failure(error, results.at(-1)?.migrationName)
    if (results.length === 0) return done
    done.push(...results.map(({ migrationName }) => migrationName))
  }
}

function failure(cause: unknown, name = 'the schema'): Error {
  return new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
}

async function migrations(db: Kysely<Tables>, folder: string): Promise<Record<string, Migration>> {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
  const ours = files.map((name): [string, Migration] => [name.slice(0, -'.sql'.length), fromFile(join(folder, name))])
  const newest = ours.at(-1)?.[0] ?? ''
  const later = (await executed(db)).filter((name) => name > newest)
  return Object.fromEntries([...ours, ...later.map((name): [string, Migration] => [name, ofLaterRelease])])
}

function fromFile(path: string): Migration {
  return { up: async (db) => void (await sql.raw(readFileSync(path, 'utf8')).execute(db)) }
}

/**
 * A later release has used this database. One release back must work (columns go away in three steps), so what it ran
 * is taken as run; the migrator itself would call the history corrupted.
 */
const ofLaterRelease: Migration = { up: async () => {} }

async function executed(db: Kysely<Tables>): Promise<string[]> {
  const { rows: tables } = await sql`select to_regclass(${MIGRATION_TABLE}) as name`.execute(db)
  if ((tables[0] as { name: string | null }).name === null) return []
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(MIGRATION_TABLE)}`.execute(db)
  return rows.map(({ name }) => name)
}
