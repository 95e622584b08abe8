/**
 * The tables of the floors, in a schema of their own that a run makes and drops: for each event a row with its text of
 * about 1.1 KB and a narrow row, as any event store has them, with nothing but their primary keys.
 */

import type pg from 'pg'

export interface Row {
  readonly eventId: string
  /** Canonical JSON: it has no control characters, which is what makes the separator safe. */
  readonly text: string
}

export async function createFloorSchema(client: pg.Client): Promise<void> {
  await client.query(`
    drop schema if exists bench_floor cascade;
    create schema bench_floor;
    create table bench_floor.event_text (event bigint primary key, text text not null);
    create table bench_floor.event (
      event bigint primary key, room int not null, position bigint not null, sender int not null, type text not null,
      event_id text not null
    )`)
}

export async function emptyFloorSchema(client: pg.Client): Promise<void> {
  await client.query('truncate bench_floor.event, bench_floor.event_text')
}

export async function dropFloorSchema(client: pg.Client): Promise<void> {
  await client.query('drop schema if exists bench_floor cascade')
}

const SEPARATOR = '\x1e'

const insert = `
  with given as (
    select $1::bigint + ordinality as event, event_id, text
    from rows from (string_to_table($2::text, e'\\x1e'), string_to_table($3::text, e'\\x1e'))
      with ordinality as given (event_id, text, ordinality)
  ), texts as (
    insert into bench_floor.event_text select event, text from given
  )
  insert into bench_floor.event select event, 1, event, 1, 'm.room.message', event_id from given`

/** One durable transaction in one round trip. The rows get the numbers after `last`. */
export async function insertRows(client: pg.Client, last: number, rows: readonly Row[]): Promise<void> {
  const ids = rows.map(({ eventId }) => eventId).join(SEPARATOR)
  const texts = rows.map(({ text }) => text).join(SEPARATOR)
  await client.query({ name: 'bench_floor_insert', text: insert, values: [last, ids, texts] })
}
