/** How large a database's tables are, to tell how much a run made them grow. */

import pg from 'pg'

/** Bytes by `schema.table`, each with its indexes and TOAST. Sequences and the floors' own tables are not among them. */
export type TableSizes = ReadonlyMap<string, number>

const SETTLED_AFTER_MS = 500
const MAX_TRIES = 20

const sizes = `
  select n.nspname || '.' || c.relname as name, pg_total_relation_size(c.oid)::float8 as bytes
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'bench_floor')`

/** The sizes once they have stopped changing (a server may write after its answers), or after ten seconds. */
export async function tableSizes(databaseUrl: string): Promise<TableSizes> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    return await settledSizes(client)
  } finally {
    await client.end()
  }
}

async function settledSizes(client: pg.Client): Promise<TableSizes> {
  await checkpoint(client)
  let before = await readSizes(client)
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLED_AFTER_MS))
    const now = await readSizes(client)
    if (total(now) === total(before)) return now
    before = now
  }
  return before
}

/** A user without the right to it gets sizes that lag a little. */
async function checkpoint(client: pg.Client): Promise<void> {
  await client.query('checkpoint').catch((cause: { code?: string }) => {
    if (cause.code !== '42501') throw cause // insufficient_privilege
  })
}

async function readSizes(client: pg.Client): Promise<TableSizes> {
  const { rows } = await client.query<{ name: string; bytes: number }>(sizes)
  return new Map(rows.map(({ name, bytes }) => [name, bytes]))
}

export const total = (table: TableSizes): number => [...table.values()].reduce((sum, bytes) => sum + bytes, 0)

/** Bytes by table, of those that grew, the fastest first. */
export function growth(before: TableSizes, after: TableSizes): [table: string, bytes: number][] {
  return [...after]
    .map(([name, bytes]): [string, number] => [name, bytes - (before.get(name) ?? 0)])
    .filter(([, bytes]) => bytes !== 0)
    .sort((a, b) => b[1] - a[1])
}
