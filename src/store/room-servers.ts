/**
 * Other servers in rooms, for what is sent to all of them and has no position in the log. The log writer writes the rows.
 */
import { sql, type Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import { serverNameOf } from '../protocol/identifiers.js'
import type { RoomNumber } from '../protocol/numbers.js'
import type { Fact } from './facts.js'
import type { LogTables } from './log-tables.js'
import type { Tables } from './tables.js'

export class RoomServers {
  /** By the promise: an entry that is forgotten while it is read stays forgotten. About 50 bytes for each server. */
  private readonly rooms = new LRUCache<RoomNumber, Promise<readonly string[]>>({ max: 5_000 })

  constructor(
    private readonly db: Kysely<Tables>,
    private readonly serverName: string,
  ) {}

  /** Those that have joined users in the room now. */
  of(room: RoomNumber): Promise<readonly string[]> {
    const known = this.rooms.get(room)
    if (known !== undefined) return known
    const read = this.read(room)
    this.rooms.set(room, read)
    read.catch(() => this.rooms.peek(room) === read && this.rooms.delete(room))
    return read
  }

  /** Called for every fact in the order of the log. */
  follow(fact: Fact): void {
    if (fact.kind === 'membership' && serverNameOf(fact.user) !== this.serverName) this.rooms.delete(fact.room)
  }

  private async read(room: RoomNumber): Promise<readonly string[]> {
    const rows = await this.db
      .selectFrom('room_server')
      .select('server')
      .where('room', '=', room)
      .where('to_position', 'is', null)
      .orderBy('server')
      .execute()
    return rows.map((row) => row.server)
  }
}

/** Whether another server has joined users in the room. One look, however many members the room has. */
export async function isServerIn(db: Kysely<LogTables>, room: RoomNumber, server: string): Promise<boolean> {
  const { rows } = await sql<{ is_in: boolean }>`
    select exists (
      select from room_server where server = ${server} and room_server.room = ${room} and to_position is null
    ) as is_in
  `.execute(db)
  return rows[0]!.is_in
}

/** Whether another server has joined users in any room that is known here. */
export async function sharesRoom(db: Kysely<LogTables>, server: string): Promise<boolean> {
  const { rows } = await sql<{ shares: boolean }>`
    select exists (select from room_server where server = ${server} and to_position is null) as shares
  `.execute(db)
  return rows[0]!.shares
}

/**
 * Rooms in which another server is that hold an event of this id, at most `limit`. One look into each room of the server:
 * an index by the id alone would cost every event that is written half as much again.
 */
export async function roomsWithEvent(
  db: Kysely<LogTables>,
  server: string,
  eventId: string,
  limit: number,
): Promise<RoomNumber[]> {
  const { rows } = await sql<{ room: RoomNumber }>`
    select room from room_server join event using (room)
    where server = ${server} and to_position is null and event_id = ${eventId} limit ${limit}
  `.execute(db)
  return rows.map(({ room }) => room)
}

/** Servers that share a room with a user; those that share only this one, where one is named. */
export async function serversWith(db: Kysely<Tables>, userId: string, only?: RoomNumber): Promise<string[]> {
  const { rows } = await sql<{ server: string }>`
    select server from membership join room_server using (room)
    where user_id = ${userId} and membership = 'join' and room_server.to_position is null
    group by server having ${only ?? null}::int is null or every(room = ${only ?? null})
    order by server
  `.execute(db)
  return rows.map((row) => row.server)
}

/** The other servers with most of the joined users of a room: whom to ask for what is missing. */
export async function largestServers(db: Kysely<LogTables>, room: RoomNumber, limit: number): Promise<string[]> {
  const { rows } = await sql<{ server: string }>`
    select server from room_server where room_server.room = ${room} and to_position is null
    order by joined desc, server limit ${limit}
  `.execute(db)
  return rows.map((row) => row.server)
}
