/**
 * Room ids and numbers. A room's id, version and rules never change once it has a head, so they are remembered for as
 * long as the process lives: about 200 bytes for each room that was touched.
 */
import { sql, type Kysely } from 'kysely'
import { rulesOf, type RoomVersionRules } from '../protocol/room-versions.js'
import type { RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

export interface RoomName {
  readonly room: RoomNumber
  readonly roomId: string
  /** undefined: known by an invite or a knock only, or of a version this server does not know. */
  readonly rules: RoomVersionRules | undefined
  readonly version: string | undefined
}

export class RoomNames {
  private readonly byId = new Map<string, RoomName>()
  private readonly byNumber = new Map<RoomNumber, RoomName>()

  constructor(private readonly db: Kysely<LogTables>) {}

  known(room: RoomNumber): RoomName | undefined {
    return this.byNumber.get(room)
  }

  /** undefined: no such room here. */
  async find(roomId: string): Promise<RoomName | undefined> {
    const known = this.byId.get(roomId)
    if (known !== undefined) return known
    const row = await this.db
      .selectFrom('room')
      .select(['room', 'room_id', 'version'])
      .where('room_id', '=', roomId)
      .executeTakeFirst()
    return row && this.remember(row)
  }

  /** Rooms that are not here are absent. */
  async names(rooms: readonly RoomNumber[]): Promise<Map<RoomNumber, RoomName>> {
    const names = new Map<RoomNumber, RoomName>()
    const unknown = [...new Set(rooms)].filter((room) => !this.byNumber.has(room))
    if (unknown.length > 0) {
      const rows = await this.db
        .selectFrom('room')
        .select(['room', 'room_id', 'version'])
        .where(sql<boolean>`room = any(${unknown}::int[])`)
        .execute()
      // Those that are not remembered are answered all the same.
      for (const row of rows) names.set(row.room, this.remember(row))
    }
    for (const room of rooms) {
      const name = this.byNumber.get(room)
      if (name !== undefined) names.set(room, name)
    }
    return names
  }

  remember(row: { room: RoomNumber; room_id: string; version: string | null }): RoomName {
    const name: RoomName = {
      room: row.room,
      roomId: row.room_id,
      version: row.version ?? undefined,
      rules: row.version === null ? undefined : rulesOf(row.version),
    }
    // A room we only know by an invite gets its version when somebody joins: not remembered until then.
    if (name.version !== undefined) {
      this.byId.set(name.roomId, name)
      this.byNumber.set(name.room, name)
    }
    return name
  }
}
