/** What this server holds of events that others name: asked for many ids at once, without reading the events. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, RoomNumber, StateKeyNumber } from '../protocol/numbers.js'
import { eventsOfRooms } from './events-of-ids.js'
import { fateNumber } from './events.js'
import type { LogTables } from './log-tables.js'

export interface HeldEvent {
  readonly number: EventNumber
  /** False for outliers. */
  readonly hasState: boolean
  readonly isRejected: boolean
  readonly stateKey: StateKeyNumber | undefined
}

export interface WantedEvents {
  readonly room: RoomNumber
  readonly eventIds: readonly string[]
}

/** By event id; those that are not here are absent. */
export async function heldEvents(
  db: Kysely<LogTables>,
  room: RoomNumber,
  eventIds: readonly string[],
): Promise<ReadonlyMap<string, HeldEvent>> {
  return (await heldEventsOfRooms(db, [{ room, eventIds }]))[0]!
}

/** For each of the wanted by event id; those that are not here are absent. */
export async function heldEventsOfRooms(
  db: Kysely<LogTables>,
  wanted: readonly WantedEvents[],
): Promise<ReadonlyMap<string, HeldEvent>[]> {
  const ofRooms = new Map<RoomNumber, Map<string, HeldEvent>>(wanted.map(({ room }) => [room, new Map()]))
  if (wanted.some(({ eventIds }) => eventIds.length > 0)) {
    const { rows } = await sql<LogTables['event'] & { has_state: boolean }>`
      select event.room, event_id, event, state_before is not null as has_state, fate, state_key
      from ${eventsOfRooms(wanted)}
    `.execute(db)
    for (const row of rows) ofRooms.get(row.room)!.set(row.event_id, heldEvent(row))
  }
  return wanted.map(({ room }) => ofRooms.get(room)!)
}

const heldEvent = (row: LogTables['event'] & { has_state: boolean }): HeldEvent => ({
  number: row.event,
  hasState: row.has_state,
  isRejected: row.fate === fateNumber('rejected'),
  stateKey: row.state_key ?? undefined,
})
