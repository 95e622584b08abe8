/** The texts of many events as they are stored, without reading them: what whole states are sent to other servers as. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

/** Some hundred kilobytes: so long nothing else of this process waits. */
const TOGETHER = 500

/** In no order, so many at a time. */
export async function* eventTexts(
  db: Kysely<LogTables>,
  room: RoomNumber,
  events: readonly EventNumber[],
): AsyncGenerator<string[]> {
  for (let at = 0; at < events.length; at += TOGETHER) {
    const { rows } = await sql<{ body: string }>`
      select body from event_text where room = ${room} and event = any(${events.slice(at, at + TOGETHER)}::bigint[])
    `.execute(db)
    yield rows.map(({ body }) => body)
  }
}

export interface EventText {
  readonly event: EventNumber
  readonly event_id: string
  readonly body: string
}

/** The same, for who has to know which is which. */
export async function* identifiedTexts(
  db: Kysely<LogTables>,
  room: RoomNumber,
  events: readonly EventNumber[],
): AsyncGenerator<EventText[]> {
  for (let at = 0; at < events.length; at += TOGETHER) {
    const { rows } = await sql<EventText>`
      select event, event_id, body from event join event_text using (room, event)
      where room = ${room} and event = any(${events.slice(at, at + TOGETHER)}::bigint[])
    `.execute(db)
    yield rows
  }
}

const IDS_TOGETHER = 5_000

export async function* eventIds(
  db: Kysely<LogTables>,
  room: RoomNumber,
  events: readonly EventNumber[],
): AsyncGenerator<string[]> {
  for (let at = 0; at < events.length; at += IDS_TOGETHER) {
    const { rows } = await sql<{ event_id: string }>`
      select event_id from event where room = ${room} and event = any(${events.slice(at, at + IDS_TOGETHER)}::bigint[])
    `.execute(db)
    yield rows.map(({ event_id }) => event_id)
  }
}
