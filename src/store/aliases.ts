/**
 * Local room aliases: names by which people find rooms of this server. Rows have no position, nobody is told of them.
 * The log writer moves them when a room is upgraded.
 *
 * The alias of a room that is being created is there before the room. If the process dies between the two, the row names
 * a room that never came to be: readers do not see it, and after ten minutes anybody may take the alias.
 */
import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

export interface Alias {
  readonly alias: string
  readonly room: RoomNumber
  readonly roomId: string
  readonly creator: string
}

/** undefined: nobody has made it, or its room was never made. */
export async function alias(db: Kysely<LogTables>, name: string): Promise<Alias | undefined> {
  return db
    .selectFrom('room_alias')
    .innerJoin('room', 'room.room', 'room_alias.room')
    .select(['alias', 'room.room', 'room_id as roomId', 'creator'])
    .where('alias', '=', name)
    .executeTakeFirst()
}

/** All aliases of a room, in the order in which they were made. */
export async function aliasesOf(db: Kysely<LogTables>, room: RoomNumber): Promise<string[]> {
  const rows = await db
    .selectFrom('room_alias')
    .select('alias')
    .where('room', '=', room)
    .orderBy('created_ts')
    .orderBy('alias')
    .execute()
  return rows.map((row) => row.alias)
}

const ABANDONED_MS = 10 * 60_000

/** One statement. 'exists' when it is taken, also by a room that is being made. */
export async function insertAlias(
  db: Kysely<LogTables>,
  { alias, room, creator }: { readonly alias: string; readonly room: RoomNumber; readonly creator: string },
  nowTs: number,
): Promise<'inserted' | 'exists'> {
  const { rows } = await sql`
    insert into room_alias (alias, room, creator, created_ts) values (${alias}, ${room}, ${creator}, ${nowTs})
    on conflict (alias) do update
      set room = excluded.room, creator = excluded.creator, created_ts = excluded.created_ts
      where room_alias.created_ts < ${nowTs - ABANDONED_MS}::bigint
        and not exists (select from room where room.room = room_alias.room)
    returning 1
  `.execute(db)
  return rows.length === 1 ? 'inserted' : 'exists'
}

/** Deletes it if it still names this room. */
export async function deleteAlias(db: Kysely<LogTables>, name: string, room: RoomNumber): Promise<void> {
  await db.deleteFrom('room_alias').where('alias', '=', name).where('room', '=', room).execute()
}
