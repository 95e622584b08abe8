/**
 * Rooms whose members are still to be fetched (src/room/inbound/partial-joins.ts). Rows come and go with the transactions of
 * the log writer; here it is written how fetching goes, and which process does it. A lease ends by the clock of the database.
 */
import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import { isGone } from './processes.js'
import type { Tables } from './tables.js'

export interface PartialJoinTables {
  partial_join: {
    room: RoomNumber
    resident: string
    created_ts: number
    attempts: number
    next_attempt_ts: number
    last_error: string | null
    lease_holder: string | null
    lease_until_ts: number
  }
}

export interface PartialJoin {
  readonly room: RoomNumber
  /** The server that let us in. */
  readonly resident: string
  readonly attempts: number
}

/** Those that are due and nobody else works at, now held for `ms`. */
export async function takeDuePartialJoins(
  db: Kysely<Tables>,
  holder: string,
  { nowTs, ms, limit }: { readonly nowTs: number; readonly ms: number; readonly limit: number },
): Promise<PartialJoin[]> {
  const { rows } = await sql<PartialJoin>`
    with clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now),
    due as (
      select room from partial_join, clock
      where next_attempt_ts <= ${nowTs}
        and (lease_holder is null or lease_until_ts < now or ${isGone(sql`lease_holder`)})
      order by next_attempt_ts limit ${limit} for update of partial_join skip locked
    )
    update partial_join set lease_holder = ${holder}, lease_until_ts = now + ${ms}
    from clock where room in (select room from due)
    returning room, resident, attempts
  `.execute(db)
  return rows
}

/** It is tried again, by whoever comes first. */
export async function postponePartialJoin(
  db: Kysely<Tables>,
  { room, resident }: PartialJoin,
  holder: string,
  { reason, nextAttemptTs }: { readonly reason: string; readonly nextAttemptTs: number },
): Promise<void> {
  await sql`
    update partial_join set attempts = attempts + 1, next_attempt_ts = ${nextAttemptTs}, last_error = ${reason},
      lease_holder = null, lease_until_ts = 0
    where room = ${room} and resident = ${resident} and lease_holder = ${holder}
  `.execute(db)
}

/** For who goes on at once, or at the next start. */
export async function releasePartialJoin(db: Kysely<Tables>, { room }: PartialJoin, holder: string): Promise<void> {
  await sql`
    update partial_join set lease_holder = null, lease_until_ts = 0 where room = ${room} and lease_holder = ${holder}
  `.execute(db)
}

/** Other servers in a room, those with the most users known first. */
export async function serversToAsk(db: Kysely<Tables>, room: RoomNumber, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom('room_server')
    .select('server')
    .where('room', '=', room)
    .where('to_position', 'is', null)
    .orderBy('joined', 'desc')
    .orderBy('server')
    .limit(limit)
    .execute()
  return rows.map(({ server }) => server)
}

/** What was put off in the room is due: it may have waited for the members. */
export async function retryStaged(db: Kysely<Tables>, roomId: string): Promise<void> {
  await sql`
    update staged_pdu set next_attempt_ts = 0, waits_for = null where room_id = ${roomId} and next_attempt_ts > 0
  `.execute(db)
}
