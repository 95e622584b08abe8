/** What this server knows of one user and their rooms, read whole when the user begins to sync. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import type { Membership } from './facts.js'
import type { LogTables } from './log-tables.js'
import type { MembershipInterval, MembershipRow } from './memberships.js'

/** All memberships of a user as of a position: what was committed later is left out. */
export async function membershipsAt(
  db: Kysely<LogTables>,
  userId: string,
  position: Position,
): Promise<Omit<MembershipRow, 'strippedState' | 'unheldEventId'>[]> {
  const { rows } = await sql<{
    room: RoomNumber
    membership: Membership
    event: EventNumber | null
    position: Position
    sender: string
    forgotten: boolean
  }>`
    select room, membership, event, position, sender, forgotten from membership
    where user_id = ${userId} and position <= ${position}
    union all
    select room, membership, event, from_position, '', false from past_membership
    where user_id = ${userId} and from_position <= ${position} and to_position > ${position}
  `.execute(db)
  return rows.map((row) => ({
    room: row.room,
    user: userId,
    membership: row.membership,
    event: row.event ?? undefined,
    position: row.position,
    sender: row.sender,
    forgotten: row.forgotten,
  }))
}

/** Memberships that ended with after < end <= upTo, oldest first. */
export async function membershipsEnded(
  db: Kysely<LogTables>,
  userId: string,
  after: Position,
  upTo: Position,
): Promise<Map<RoomNumber, MembershipInterval[]>> {
  const { rows } = await sql<{ room: RoomNumber; membership: Membership; from: Position; to: Position }>`
    select room, membership, from_position as from, to_position as to from past_membership
    where user_id = ${userId} and to_position > ${after} and to_position <= ${upTo} order by from_position
  `.execute(db)
  const ended = new Map<RoomNumber, MembershipInterval[]>()
  for (const { room, membership, from, to } of rows) {
    const interval = { membership, from, to }
    const ofRoom = ended.get(room)
    if (ofRoom === undefined) ended.set(room, [interval])
    else ofRoom.push(interval)
  }
  return ended
}

/** The rooms a user forgot. */
export async function forgottenRooms(db: Kysely<LogTables>, userId: string): Promise<Set<RoomNumber>> {
  const rows = await db
    .selectFrom('membership')
    .select('room')
    .where('user_id', '=', userId)
    .where('forgotten', '=', true)
    .execute()
  return new Set(rows.map((row) => row.room))
}

/** The users among these who are joined to one of these rooms. */
export async function joinedToAny(
  db: Kysely<LogTables>,
  userIds: readonly string[],
  rooms: readonly RoomNumber[],
): Promise<Set<string>> {
  const { rows } = await sql<{ user_id: string }>`
    select distinct user_id from membership
    where user_id = any(${[...userIds]}) and room = any(${[...rooms]}::int[]) and membership = 'join'
  `.execute(db)
  return new Set(rows.map((row) => row.user_id))
}

/** Whether both are joined to some room. */
export async function sharesRoomWith(db: Kysely<LogTables>, userId: string, other: string): Promise<boolean> {
  const { rows } = await sql<{ shares: boolean }>`
    select exists (
      select from membership mine join membership theirs using (room)
      where mine.user_id = ${userId} and mine.membership = 'join'
        and theirs.user_id = ${other} and theirs.membership = 'join'
    ) as shares
  `.execute(db)
  return rows[0]!.shares
}

/** Users whose devices changed with after < position <= upTo. */
export async function deviceListChanges(db: Kysely<LogTables>, after: Position, upTo: Position): Promise<string[]> {
  const rows = await db
    .selectFrom('device_list_change')
    .select('user_id')
    .where('position', '>', after)
    .where('position', '<=', upTo)
    .execute()
  return rows.map((row) => row.user_id)
}
