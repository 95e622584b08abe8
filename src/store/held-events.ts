/** What this server holds of events that others name: asked for many ids at once, without reading the events. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, RoomNumber, StateKeyNumber } from '../protocol/numbers.js'
import { eventsOfIds } from './events-of-ids.js'
import { fateNumber } from './events.js'
import type { LogTables } from './log-tables.js'

export interface HeldEvent {
  readonly number: EventNumber
  /** False for outliers. */
  readonly hasState: boolean
  readonly isRejected: boolean
  readonly stateKey: StateKeyNumber | undefined
}

/** By event id; those that are not here are absent. */
export async function heldEvents(
  db: Kysely<LogTables>,
  room: RoomNumber,
  eventIds: readonly string[],
): Promise<Map<string, HeldEvent>> {
  if (eventIds.length === 0) return new Map()
  const { rows } = await sql<LogTables['event'] & { has_state: boolean }>`
    select event_id, event, state_before is not null as has_state, fate, state_key from ${eventsOfIds(room, eventIds)}
  `.execute(db)
  return new Map(
    rows.map((row) => [
      row.event_id,
      {
        number: row.event,
        hasState: row.has_state,
        isRejected: row.fate === fateNumber('rejected'),
        stateKey: row.state_key ?? undefined,
      },
    ]),
  )
}

/** The servers with most of the joined users of a room: whom to ask for what is missing. Reads all its members. */
export async function largestServers(db: Kysely<LogTables>, room: RoomNumber, limit: number): Promise<string[]> {
  const { rows } = await sql<{ server: string }>`
    select substr(user_id, strpos(user_id, ':') + 1) as server from membership
    where room = ${room} and membership = 'join' group by 1 order by count(*) desc, 1 limit ${limit}
  `.execute(db)
  return rows.map((row) => row.server)
}
