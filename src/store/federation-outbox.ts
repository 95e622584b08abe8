/**
 * EDUs that must not be lost: to-device messages and changes of devices. A row is there from before its sender is
 * answered until its destination has answered the transaction it went with.
 */
import { sql, type Generated, type Kysely } from 'kysely'
import { listOf } from './lists.js'
import type { Tables } from './tables.js'

export interface FederationOutboxTables {
  federation_outbox: {
    number: Generated<number>
    destination: string
    key: string | null
    edu: string
    created_ts: number
  }
}

type Db = Kysely<Tables>

export interface OutboxEdu {
  readonly destination: string
  /** A newer EDU takes the place of the one that waits with the same key. */
  readonly key?: string
  /** Canonical JSON. */
  readonly edu: string
}

/**
 * All or none. What takes the place of another is a new row to whoever is sending the old one, which then deletes neither.
 * They are sorted, so that two who put the same never wait for each other.
 */
export async function putEdus(db: Db, edus: readonly OutboxEdu[], nowTs: number): Promise<void> {
  if (edus.length === 0) return
  await sql`
    insert into federation_outbox (destination, key, edu, created_ts)
    select destination, key, edu, ${nowTs}
    from unnest(${edus.map(({ destination }) => destination)}::text[], ${edus.map(({ key }) => key ?? null)}::text[],
      ${edus.map(({ edu }) => edu)}::text[]) with ordinality as x (destination, key, edu, place)
    order by destination, key, place
    on conflict (destination, key) do update
      set number = default, edu = excluded.edu, created_ts = excluded.created_ts
  `.execute(db)
}

export interface WaitingEdu {
  readonly destination: string
  readonly number: number
  readonly edu: string
}

/** Of each destination the oldest, in order, as many as have so many bytes together; one at least. */
export async function waitingEdus(
  db: Db,
  destinations: readonly string[],
  { limit, bytes }: { readonly limit: number; readonly bytes: number },
): Promise<WaitingEdu[]> {
  const { rows } = await sql<WaitingEdu>`
    select d.destination, number, edu
    from unnest(${listOf(destinations, 'text')}) as d (destination) cross join lateral (
      select number, edu, sum(octet_length(edu)) over (order by number) as total, row_number() over (order by number) as place
      from (
        select number, edu from federation_outbox o where o.destination = d.destination order by number limit ${limit}
      ) oldest
    ) e
    where total <= ${bytes} or place = 1
    order by number
  `.execute(db)
  return rows
}
