/** Leaves of rooms of other servers that those are still to be told. Who tells: src/federation/joining/remote-memberships.ts. */
import { sql, type Kysely } from 'kysely'
import type { JsonObject } from '../protocol/json.js'
import type { Position, RoomNumber } from '../protocol/numbers.js'
import type { Tables } from './tables.js'

export interface UntoldLeaveTables {
  untold_leave: {
    room: RoomNumber
    user_id: string
    position: Position
    content: string
    servers: string[]
    created_ts: number
    attempts: number
    next_attempt_ts: number
  }
}

export interface UntoldLeave {
  readonly roomId: string
  readonly room: RoomNumber
  readonly userId: string
  /** Of the membership that it ends. */
  readonly position: Position
  readonly content: JsonObject
  /** That may be in the room. */
  readonly servers: readonly string[]
}

/** How long others are told, in ms. The clean-up deletes what is older. */
export const TOLD_FOR = 24 * 3_600_000
/** Longer than an attempt takes, in ms: who made the leave tells it first, and alone. */
const FIRST_PAUSE = 120_000

export async function keepUntoldLeave(db: Kysely<Tables>, leave: UntoldLeave, nowTs: number): Promise<void> {
  const { room, userId, position, content, servers } = leave
  await sql`
    insert into untold_leave (room, user_id, position, content, servers, created_ts, next_attempt_ts)
    values (${room}, ${userId}, ${position}, ${JSON.stringify(content)}, ${[...servers]}::text[], ${nowTs}, ${nowTs + FIRST_PAUSE})
    on conflict (room, user_id) do update
      set position = excluded.position, content = excluded.content, servers = excluded.servers,
        created_ts = excluded.created_ts, attempts = 0, next_attempt_ts = excluded.next_attempt_ts
  `.execute(db)
}

/** Those that are due, which are due again after 4 min, 8 min … up to an hour. */
export async function takeUntoldLeaves(db: Kysely<Tables>, nowTs: number, limit: number): Promise<UntoldLeave[]> {
  const { rows } = await sql<UntoldLeave & { readonly content: string }>`
    update untold_leave u
    set attempts = attempts + 1, next_attempt_ts = ${nowTs} + least(${FIRST_PAUSE} * 2 ^ (attempts + 1), 3600000)::bigint
    from room r
    where r.room = u.room and (u.room, u.user_id) in (
      select room, user_id from untold_leave
      where next_attempt_ts <= ${nowTs} and created_ts > ${nowTs - TOLD_FOR}
      order by next_attempt_ts limit ${limit} for update skip locked)
    returning r.room_id as "roomId", u.room, user_id as "userId", position, content, servers
  `.execute(db)
  return rows.map((row) => ({ ...row, content: JSON.parse(row.content) as JsonObject }))
}

/** Unless another leave has taken its place. */
export async function forgetUntoldLeave(db: Kysely<Tables>, { room, userId, position }: UntoldLeave): Promise<void> {
  await db
    .deleteFrom('untold_leave')
    .where('room', '=', room)
    .where('user_id', '=', userId)
    .where('position', '=', position)
    .execute()
}
