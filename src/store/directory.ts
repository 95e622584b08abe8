/**
 * The published room directory. A flag in the summary of a room says that it is in it; it has no position, nobody is told
 * of it. The log writer writes summaries, and leaves this column of a room that is there alone, unless the room is upgraded.
 */
import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

export async function isInDirectory(db: Kysely<LogTables>, room: RoomNumber): Promise<boolean> {
  const row = await db.selectFrom('room_summary').select('in_directory').where('room', '=', room).executeTakeFirst()
  return row?.in_directory ?? false
}

export async function setInDirectory(db: Kysely<LogTables>, room: RoomNumber, published: boolean): Promise<void> {
  await db.updateTable('room_summary').set({ in_directory: published }).where('room', '=', room).execute()
}

export type PublishedRoom = Omit<LogTables['room_summary'], 'in_directory'> & { readonly room_id: string }

export interface DirectoryQuery {
  /** Looked for in names, topics and canonical aliases, whatever the case of its letters. */
  readonly term?: string
  /** null: rooms without a type. Absent: any. */
  readonly types?: readonly (string | null)[]
  /** Leaves out rooms that do not federate. */
  readonly forServers?: boolean
  readonly offset: number
  readonly limit: number
}

/** Rooms with the most joined members first, and how many there are in all. */
export async function publishedRooms(
  db: Kysely<LogTables>,
  { term, types, forServers = false, offset, limit }: DirectoryQuery,
): Promise<{ readonly rooms: readonly PublishedRoom[]; readonly total: number }> {
  const wanted = sql<boolean>`in_directory
    and (${term ?? null}::text is null
      or strpos(lower(concat_ws(' ', name, topic, canonical_alias)), lower(${term ?? null}::text)) > 0)
    and (${types === undefined} or room_type = any(${(types ?? []).filter((type) => type !== null)}::text[])
      or (${types?.includes(null) ?? false} and room_type is null))
    and (not ${forServers}::boolean or exists (
      select from room r join event_text t on t.room = r.room and t.event = r.creation_event
      where r.room = room_summary.room and strpos(t.body, '"m.federate":false') = 0))`
  const [rooms, count] = await Promise.all([
    db
      .selectFrom('room_summary')
      .innerJoin('room', 'room.room', 'room_summary.room')
      .selectAll('room_summary')
      .select('room_id')
      .where(wanted)
      .orderBy('joined_members', 'desc')
      .orderBy('room_summary.room')
      .offset(offset)
      .limit(limit)
      .execute(),
    db
      .selectFrom('room_summary')
      .select((row) => row.fn.countAll<number>().as('total'))
      .where(wanted)
      .executeTakeFirstOrThrow(),
  ])
  return { rooms, total: count.total }
}
