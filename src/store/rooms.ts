/** The head of a room as the database has it, with its summary. Only the log writer moves heads. */
import { sql, type Kysely } from 'kysely'
import pg from 'pg'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'
import type { Head, RoomSummary } from './log-writer.js'

export interface HeadRow {
  readonly head: Head
  readonly summary: RoomSummary
  readonly creationEvent: EventNumber
  readonly nextSegment: number
}

/** One statement, so that it is one moment. undefined: a room without a head. */
export async function readHead(db: Kysely<LogTables>, room: RoomNumber): Promise<HeadRow | undefined> {
  const row = await db
    .selectFrom('room')
    .innerJoin('room_summary', 'room_summary.room', 'room.room')
    .selectAll('room_summary')
    .select(['head_version', 'forward_extremities', 'state', 'next_segment', 'creation_event'])
    .select(['notify_count', 'highlight_count', 'last_activity_ts', 'is_shared', 'partial_join'])
    .where('room.room', '=', room)
    .executeTakeFirst()
  if (row === undefined || row.creation_event === null) return undefined
  return {
    head: {
      version: row.head_version,
      forwardExtremities: row.forward_extremities,
      state: row.state,
      notifyCount: row.notify_count,
      highlightCount: row.highlight_count,
      lastActivityTs: row.last_activity_ts,
      isShared: row.is_shared || undefined,
      partialJoin: row.partial_join ?? undefined,
    },
    summary: summaryOf(row),
    creationEvent: row.creation_event,
    nextSegment: row.next_segment,
  }
}

/** The number of a room, which it has from now on: also of one that is known by an invite alone. */
export async function roomNumber(db: Kysely<LogTables>, roomId: string): Promise<RoomNumber> {
  await sql`
    insert into room (room, room_id) values (nextval('room_number'), ${roomId}) on conflict (room_id) do nothing
  `.execute(db)
  const row = await db.selectFrom('room').select('room').where('room_id', '=', roomId).executeTakeFirstOrThrow()
  return row.room
}

/** Why a room could not be made: another has its id. */
export const isRoomIdTaken = (cause: unknown): boolean =>
  cause instanceof pg.DatabaseError && cause.constraint === 'room_room_id_key'

/** The columns of a summary and nothing else, since it is written back as a whole. */
export function summaryOf(row: LogTables['room_summary']): RoomSummary {
  const { room: _room, ...columns } = row
  const { name, topic, avatar_url, canonical_alias, join_rule, history_visibility, guest_access, encryption } = columns
  const { room_type, tombstone_event_id, joined_members, invited_members, in_directory } = columns
  return {
    name,
    topic,
    avatar_url,
    canonical_alias,
    join_rule,
    history_visibility,
    guest_access,
    encryption,
    room_type,
    tombstone_event_id,
    joined_members,
    invited_members,
    in_directory,
  }
}
