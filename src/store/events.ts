/**
 * Reading events: the narrow rows and the text that was signed, put together as StoredEvents and kept in memory.
 * Nothing here decides who may read them; that is the gate's (src/room/gate.ts).
 */
import { sql, type Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import { parseExactJson } from '../protocol/strict-json.js'
import type { JsonObject } from '../protocol/json.js'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import { roomEventOf } from '../protocol/pdu.js'
import { targetOf } from '../protocol/redaction.js'
import { eventsOfIds } from './events-of-ids.js'
import { listOf } from './lists.js'
import type { LogTables } from './log-tables.js'
import type { Memory } from './memory.js'
import { isPauseDue, pause } from './pauses.js'
import type { RoomNames } from './room-names.js'
import type { Fate, StoredEvent } from './stored-event.js'

const fates: readonly Fate[] = ['accepted', 'soft-failed', 'rejected']
export const fateNumber = (fate: Fate): number => fates.indexOf(fate)

type EventRow = LogTables['event'] & { body: string }

type AroundArrival = (EventRow | Record<keyof EventRow, null>) & {
  readonly id: string
  readonly is_missed: boolean
  /** null: it is only named. */
  readonly redactions: readonly EventNumber[] | null
}

/** By event id. */
export interface AroundArrivals {
  readonly held: ReadonlyMap<string, StoredEvent>
  /** Accepted redactions that wait for an event that arrives, oldest first. */
  readonly redactions: ReadonlyMap<string, readonly StoredEvent[]>
  /** Those of the arriving that accepted events name as prev events. */
  readonly missed: ReadonlySet<string>
}

/** What is left of a redacted event, and the event that redacted it. */
export interface Redacted {
  readonly by: EventNumber
  readonly event: StoredEvent['event']
  readonly text: string
}

export class Events {
  /** Who read an event before its redaction was committed may come with it after. */
  private readonly redacted = new LRUCache<EventNumber, Redacted>({ max: 1_000 })

  constructor(
    private readonly db: Kysely<LogTables>,
    private readonly memory: Memory,
    private readonly names: RoomNames,
  ) {}

  /** The event at hand, without asking the database. */
  known(number: EventNumber): StoredEvent | undefined {
    return this.memory.events.get(number)
  }

  /** Whether an event is known to be redacted: of one whose redaction was published just now it is known. */
  isRedacted(number: EventNumber): boolean {
    return this.redacted.has(number) || this.known(number)?.redactedBy !== undefined
  }

  remember(event: StoredEvent): void {
    this.memory.events.set(event.number, event)
  }

  /** Events that are not here are absent. One statement for all that are not in memory. */
  async events(room: RoomNumber, numbers: readonly EventNumber[]): Promise<Map<EventNumber, StoredEvent>> {
    const found = new Map<EventNumber, StoredEvent>()
    const missing: EventNumber[] = []
    for (const number of numbers) {
      const event = this.memory.events.get(number)
      if (event === undefined) missing.push(number)
      else found.set(number, event)
    }
    if (missing.length > 0) for (const event of await this.read(room, missing)) found.set(event.number, event)
    return found
  }

  private read(room: RoomNumber, numbers: readonly EventNumber[]): Promise<StoredEvent[]> {
    return this.select(sql`event.room = ${room} and event.event = any(${[...numbers]}::bigint[])`)
  }

  /** Events of several rooms. One statement for all that are not in memory. */
  async eventsOfRooms(
    wanted: readonly { readonly room: RoomNumber; readonly event: EventNumber }[],
  ): Promise<Map<EventNumber, StoredEvent>> {
    const found = new Map<EventNumber, StoredEvent>()
    const missing = wanted.filter(({ event }) => {
      const known = this.memory.events.get(event)
      if (known !== undefined) found.set(event, known)
      return known === undefined
    })
    if (missing.length === 0) return found
    const rooms = missing.map(({ room }) => room)
    const numbers = missing.map(({ event }) => event)
    const rows = await this.select(
      sql`(event.room, event.event) in (select * from unnest(${listOf(rooms, 'int')}, ${listOf(numbers, 'bigint')}))`,
    )
    for (const event of rows) found.set(event.number, event)
    return found
  }

  /**
   * Events that have a place in the room, as those of its head: another process may have learned it since they were read
   * as outliers, and this one not heard of it yet.
   */
  async placed(room: RoomNumber, numbers: readonly EventNumber[]): Promise<Map<EventNumber, StoredEvent>> {
    const found = await this.events(room, numbers)
    const outliers = numbers.filter((number) => found.get(number)?.stateBefore === undefined)
    if (outliers.length > 0) for (const event of await this.read(room, outliers)) found.set(event.number, event)
    return found
  }

  async byId(room: RoomNumber, eventId: string): Promise<StoredEvent | undefined> {
    return (await this.byIds(room, [eventId])).get(eventId)
  }

  /** By event id; events that are not here are absent. One statement, and what it says is newer than what is in memory. */
  async byIds(room: RoomNumber, eventIds: readonly string[]): Promise<Map<string, StoredEvent>> {
    if (eventIds.length === 0) return new Map()
    const { rows } = await sql<EventRow>`
      select event.*, event_text.body from ${eventsOfIds(room, eventIds)} join event_text using (room, event)
    `.execute(this.db)
    const events = await this.fromRows(rows)
    return new Map(events.map((event) => [event.event.eventId, event]))
  }

  /**
   * What the database holds of events that arrive, and of those that they name: all with one statement, since there is one
   * for each run of events that a room takes in. What it says is newer than what is in memory.
   */
  async aroundArrivals(
    room: RoomNumber,
    arriving: readonly string[],
    named: readonly string[],
  ): Promise<AroundArrivals> {
    const ids = [...new Set([...arriving, ...named])]
    // Lateral and limited: look-ups by index, whatever the tables were when it was planned (events-of-ids.ts).
    const { rows } = await sql<AroundArrival>`
      select * from (
        select wanted.id, held.*, coalesce(gap.is_missed, false) as is_missed, case when is_arriving then array(
          select waiting.event from waiting_redaction waiting
          where waiting.room = ${room} and target_event_id = wanted.id order by waiting.event
        ) end as redactions
        from unnest(${listOf(ids, 'text')}) with ordinality as listed (id, place)
        cross join lateral (select listed.id, place <= ${new Set(arriving).size} as is_arriving) wanted
        left join lateral (
          select event.*, body from event join event_text using (room, event)
          where event.room = ${room} and event_id = wanted.id limit 1
        ) held on true
        left join lateral (
          select true as is_missed from backward_extremity join event child using (room, event)
          where is_arriving and backward_extremity.room = ${room} and backward_extremity.event_id = wanted.id
            and child.fate = 0 and child.anchor is not null limit 1
        ) gap on true
      ) around where event is not null or is_missed or redactions <> '{}'
    `.execute(this.db)
    const held = await this.fromRows(rows.filter(({ event }) => event !== null) as EventRow[])
    const waiting = rows.flatMap(({ redactions }) => redactions ?? [])
    const redactions = waiting.length === 0 ? undefined : await this.events(room, waiting)
    return {
      held: new Map(held.map((event) => [event.event.eventId, event])),
      redactions: new Map(
        rows.flatMap(({ id, redactions: ofIt }) =>
          ofIt === null || ofIt.length === 0 ? [] : [[id, ofIt.map((number) => redactions!.get(number)!)]],
        ),
      ),
      missed: new Set(rows.flatMap(({ id, is_missed }) => (is_missed ? [id] : []))),
    }
  }

  /**
   * A page of a room's order, outliers aside. `from` and `to` are exclusive orders; backwards pages come newest first.
   * Fates are the reader's business.
   */
  async page(
    room: RoomNumber,
    page: { backwards: boolean; from?: RoomOrder; to?: RoomOrder; limit: number },
  ): Promise<StoredEvent[]> {
    const { from, to } = page
    const conditions = [sql`event.room = ${room}`, sql`event.anchor is not null`]
    if (from !== undefined) {
      conditions.push(
        page.backwards
          ? sql`(event.anchor, event.minor) < (${from.anchor}, ${from.minor})`
          : sql`(event.anchor, event.minor) > (${from.anchor}, ${from.minor})`,
      )
    }
    if (to !== undefined) {
      conditions.push(
        page.backwards
          ? sql`(event.anchor, event.minor) > (${to.anchor}, ${to.minor})`
          : sql`(event.anchor, event.minor) < (${to.anchor}, ${to.minor})`,
      )
    }
    const order = page.backwards
      ? sql`order by event.anchor desc, event.minor desc`
      : sql`order by event.anchor, event.minor`
    return this.select(sql`${sql.join(conditions, sql` and `)} ${order} limit ${page.limit}`)
  }

  /** Live events with after < position <= upTo, of all rooms, in order. */
  between(after: Position, upTo: Position): Promise<StoredEvent[]> {
    return this.select(sql`event.position > ${after} and event.position <= ${upTo} order by event.position`)
  }

  /** After the commit of a redaction: all who hold the event hold what is left of it. */
  redact(target: StoredEvent, redacted: Redacted): void {
    this.redacted.set(target.number, redacted)
    const known = this.known(target.number)
    for (const event of known === undefined || known === target ? [target] : [target, known]) apply(event, redacted)
  }

  /** Redactions that another process committed: what is in memory from before them becomes what the tables hold. */
  async readRedacted(redactions: readonly StoredEvent[]): Promise<void> {
    if (redactions.length === 0) return
    const rooms = redactions.map(({ room }) => room)
    const targets = redactions.map(({ event }) => targetOf(event) ?? '')
    const { rows } = await sql<EventRow>`
      select event.*, event_text.body from event join event_text using (room, event)
      where (event.room, event.event_id) in (select * from unnest(${rooms}::int[], ${targets}::text[]))
        and redacted_by is not null
    `.execute(this.db)
    for (const row of rows) {
      const { redactedBy: by, event, text } = this.parsed(row)
      const redacted = { by: by!, event, text }
      const known = this.known(row.event)
      this.redacted.set(row.event, redacted)
      if (known !== undefined) apply(known, redacted)
    }
  }

  /** Of rooms whose members were still to come when their heads were read: our joins. */
  private readonly partialJoins = new Map<RoomNumber, EventNumber>()

  /** Called with each head that is read: what another process judged again meanwhile is not taken from memory. */
  async followPartialJoin(room: RoomNumber, join: EventNumber | undefined): Promise<void> {
    const before = this.partialJoins.get(room)
    if (before === join) return
    if (before !== undefined) await this.readJudgedAnew(room)
    if (join === undefined) this.partialJoins.delete(room)
    else this.partialJoins.set(room, join)
  }

  /** Events that were judged again when the members of their room were here: what is in memory becomes what the tables hold. */
  async readJudgedAnew(room: RoomNumber): Promise<void> {
    const { rows } = await sql<EventRow>`
      select distinct event.*, event_text.body
      from provisional_event join event using (room, event) join event_text using (room, event)
      where provisional_event.room = ${room}
    `.execute(this.db)
    await this.names.names([room])
    for (const row of rows) {
      const known = this.known(row.event)
      // In place: the object is shared by all who hold the event.
      if (known !== undefined) Object.assign(known, this.parsed(row))
      if (isPauseDue()) await pause()
    }
  }

  private async select(where: ReturnType<typeof sql>): Promise<StoredEvent[]> {
    const { rows } = await sql<EventRow>`
      select event.*, event_text.body from event join event_text using (room, event) where ${where}
    `.execute(this.db)
    return this.fromRows(rows)
  }

  private async fromRows(rows: readonly EventRow[]): Promise<StoredEvent[]> {
    await this.names.names(rows.map((row) => row.room))
    const events: StoredEvent[] = []
    for (const row of rows) {
      events.push(this.fromRow(row))
      if (isPauseDue()) await pause()
    }
    return events
  }

  /** The one object of an event: the one in memory, if there is one, since a redaction is applied to that. */
  private fromRow(row: EventRow): StoredEvent {
    const known = this.memory.events.get(row.event)
    if (known !== undefined && !isPromoted(known, row)) return known
    const stored = this.parsed(row)
    const redacted = stored.redactedBy === undefined ? this.redacted.get(stored.number) : undefined
    if (redacted !== undefined) apply(stored, redacted)
    this.memory.events.set(stored.number, stored)
    return stored
  }

  private parsed(row: EventRow): StoredEvent {
    const rules = this.names.known(row.room)?.rules
    if (rules === undefined) throw new Error(`event ${row.event} is in room ${row.room}, which has no known version`)
    const event = roomEventOf(rules, parseExactJson(row.body) as JsonObject, row.event_id)
    return {
      number: row.event,
      room: row.room,
      event,
      text: row.body,
      stateKey: row.state_key ?? undefined,
      position: row.position ?? undefined,
      anchor: row.anchor ?? undefined,
      minor: row.minor ?? 0,
      prevEvents: row.prev_events,
      authEvents: row.auth_events,
      authDepth: row.auth_depth,
      stateBefore: row.state_before ?? undefined,
      stateAfter: row.state_after ?? row.state_before ?? undefined,
      replaces: row.replaces ?? undefined,
      isOutgoing: row.is_outgoing ?? undefined,
      fate: fates[row.fate] ?? 'rejected',
      reason: row.reason ?? undefined,
      redactedBy: row.redacted_by ?? undefined,
      notifyCount: row.notify_count,
      highlightCount: row.highlight_count,
      clientText: undefined,
    }
  }
}

/** It was an outlier when it was read, and somebody has learned the state before it since. */
const isPromoted = (known: StoredEvent, row: EventRow): boolean =>
  known.stateBefore === undefined && row.state_before !== null

/** In place: the object is shared by all who hold the event. */
function apply(target: StoredEvent, { by, event, text }: Redacted): void {
  target.event = event
  target.text = text
  target.clientText = undefined
  target.redactedBy = by
}

/** A place in the order of a room. */
export interface RoomOrder {
  readonly anchor: number
  readonly minor: number
}
