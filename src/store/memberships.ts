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
  /** The id of its event, where that is not held. */
  readonly unheldEventId: string | undefined
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

/** The users with a membership in a room, in no order. */
export async function membersOf(
  db: Kysely<LogTables>,
  room: RoomNumber,
  membership: Membership,
): Promise<{ user: string; event: EventNumber | undefined }[]> {
  const rows = await db
    .selectFrom('membership')
    .select(['user_id', 'event'])
    .where('room', '=', room)
    .where('membership', '=', membership)
    .execute()
  return rows.map((row) => ({ user: row.user_id, event: row.event ?? undefined }))
}

/** The users who were joined to a room at some time between two positions, and had come before the second. */
export async function joinedBetween(
  db: Kysely<LogTables>,
  room: RoomNumber,
  after: Position,
  upTo: Position,
): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    select user_id from membership where room = ${room} and membership = 'join' and position < ${upTo}
    union
    select user_id from past_membership
    where room = ${room} and membership = 'join' and from_position < ${upTo} and to_position > ${after}
  `.execute(db)
  return rows.map((row) => row.user_id)
}

/** One user, or all users of a server. */
export type Whose = { readonly user: string } | { readonly server: string }

/** As the indexes by server have it (schema/0016-members-by-server.sql). */
export const serverOf = (userId: string) => sql<string>`substr(${sql.ref(userId)}, strpos(${sql.ref(userId)}, ':') + 1)`

const isOf = (whose: Whose) =>
  'user' in whose ? sql<boolean>`user_id = ${whose.user}` : sql<boolean>`${serverOf('user_id')} = ${whose.server}`

/** The times somebody was joined to a room, the one that ended last, or lasts, at the end. None of a room they forgot. */
export async function joins(db: Kysely<LogTables>, room: RoomNumber, whose: Whose): Promise<{ readonly to: number }[]> {
  const { rows } = await sql<{ to: Position | null }>`
    select to_position as to from past_membership as past
    where room = ${room} and ${isOf(whose)} and membership = 'join' and not exists (
      select from membership where membership.room = past.room and membership.user_id = past.user_id and forgotten)
    union all
    select null from membership where room = ${room} and ${isOf(whose)} and membership = 'join'
    order by 1 nulls last
  `.execute(db)
  return rows.map(({ to }) => ({ to: to ?? Infinity }))
}

/**
 * What the user is told of rooms they are invited to, or knock on, or, of rooms that we do not hold, by the end of that:
 * JSON arrays of events. Of those who have one of these memberships now.
 */
export async function strippedStates(
  db: Kysely<LogTables>,
  user: string,
  rooms: readonly RoomNumber[],
  memberships: readonly Membership[],
): Promise<Map<RoomNumber, string>> {
  if (rooms.length === 0) return new Map()
  const rows = await db
    .selectFrom('membership')
    .select(['room', 'stripped_state'])
    .where('user_id', '=', user)
    .where('room', 'in', rooms)
    .where('membership', 'in', memberships)
    .execute()
  return new Map(rows.flatMap((row) => (row.stripped_state === null ? [] : [[row.room, row.stripped_state]])))
}

/** Some users of a server who are joined to a room. */
export async function joinedOfServer(
  db: Kysely<LogTables>,
  room: RoomNumber,
  server: string,
  limit: number,
): Promise<string[]> {
  const rows = await db
    .selectFrom('membership')
    .select('user_id')
    .where('room', '=', room)
    .where('membership', '=', 'join')
    .where(isOf({ server }))
    .limit(limit)
    .execute()
  return rows.map((row) => row.user_id)
}

/** Rows that are looked at to find servers: a room may have hundreds of thousands. */
const SERVERS_AMONG = 5_000

/** Servers that take part in a room, those with the most members first, as far as some thousand members tell. */
export async function serversIn(db: Kysely<LogTables>, room: RoomNumber, limit: number): Promise<string[]> {
  const { rows } = await sql<{ server: string }>`
    select ${serverOf('user_id')} as server
    from (select user_id from membership where room = ${room} and membership = 'join' limit ${SERVERS_AMONG}) as seen
    group by 1 order by count(*) desc, 1 limit ${limit}
  `.execute(db)
  return rows.map((row) => row.server)
}

/** The servers of those who are joined to a room, one user left out of account. Reads all its members. */
export async function joinedServers(db: Kysely<LogTables>, room: RoomNumber, butUser: string): Promise<string[]> {
  const { rows } = await sql<{ server: string }>`
    select distinct ${serverOf('user_id')} as server from membership
    where room = ${room} and membership = 'join' and user_id <> ${butUser}
  `.execute(db)
  return rows.map((row) => row.server)
}

/** Whether a user of a server is invited to a room. */
export async function isServerInvited(db: Kysely<LogTables>, room: RoomNumber, server: string): Promise<boolean> {
  const row = await db
    .selectFrom('membership')
    .select('user_id')
    .where('room', '=', room)
    .where('membership', '=', 'invite')
    .where(isOf({ server }))
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
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
  unheldEventId: row.unheld_event_id ?? undefined,
})
