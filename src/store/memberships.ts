/** Who is, and was, in which room. Only the log writer writes these rows; `forgotten` is the exception, told below. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import type { Membership } from './facts.js'
import type { LogTables } from './log-tables.js'

export interface MembershipRow {
  readonly room: RoomNumber
  readonly user: string
  readonly membership: Membership
  readonly event: EventNumber | undefined
  /** Since when. */
  readonly position: Position
  readonly sender: string
  readonly forgotten: boolean
  readonly strippedState: string | undefined
}

export interface MembershipInterval {
  readonly membership: Membership
  readonly from: Position
  /** Infinity for the one that lasts. */
  readonly to: number
}

/** All current memberships of a user, forgotten rooms included. */
export async function membershipsOf(db: Kysely<LogTables>, user: string): Promise<MembershipRow[]> {
  const rows = await db.selectFrom('membership').selectAll().where('user_id', '=', user).execute()
  return rows.map(membershipRow)
}

export async function membershipIn(
  db: Kysely<LogTables>,
  room: RoomNumber,
  user: string,
): Promise<MembershipRow | undefined> {
  const row = await db
    .selectFrom('membership')
    .selectAll()
    .where('room', '=', room)
    .where('user_id', '=', user)
    .executeTakeFirst()
  return row && membershipRow(row)
}

/** The users with a membership in a room, in no order; of those who have had it since a position. */
export async function membersOf(
  db: Kysely<LogTables>,
  room: RoomNumber,
  membership: Membership,
  since?: Position,
): Promise<{ user: string; event: EventNumber | undefined }[]> {
  let query = db
    .selectFrom('membership')
    .select(['user_id', 'event'])
    .where('room', '=', room)
    .where('membership', '=', membership)
  if (since !== undefined) query = query.where('position', '<=', since)
  const rows = await query.execute()
  return rows.map((row) => ({ user: row.user_id, event: row.event ?? undefined }))
}

/** The memberships of a user in a room, past and present, oldest first. None of a room they forgot. */
export async function intervals(db: Kysely<LogTables>, room: RoomNumber, user: string): Promise<MembershipInterval[]> {
  const { rows } = await sql<{ membership: Membership; from_position: Position; to_position: Position | null }>`
    select membership, from_position, to_position from past_membership where user_id = ${user} and room = ${room}
      and not exists (select from membership where user_id = ${user} and room = ${room} and forgotten)
    union all
    select membership, position, null from membership where user_id = ${user} and room = ${room} and not forgotten
    order by from_position
  `.execute(db)
  return rows.map((row) => ({
    membership: row.membership,
    from: row.from_position,
    to: row.to_position ?? Infinity,
  }))
}

/** A user forgets a room they are not in. It has no position: nobody but the user's own lists looks at it. */
export async function forget(db: Kysely<LogTables>, room: RoomNumber, user: string): Promise<void> {
  await db
    .updateTable('membership')
    .set({ forgotten: true })
    .where('room', '=', room)
    .where('user_id', '=', user)
    .where('membership', 'in', ['leave', 'ban'])
    .execute()
}

const membershipRow = (row: LogTables['membership']): MembershipRow => ({
  room: row.room,
  user: row.user_id,
  membership: row.membership as Membership,
  event: row.event ?? undefined,
  position: row.position,
  sender: row.sender,
  forgotten: row.forgotten,
  strippedState: row.stripped_state ?? undefined,
})
