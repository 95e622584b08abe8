/** The edges of auth chains: what an event names as its auth events, without the event itself. */
import { sql } from 'kysely'
import type { EventNumber, RoomNumber, StateKeyNumber } from '../protocol/numbers.js'
import { listOf } from './lists.js'
import type { Stores } from './stores.js'

export interface AuthEdges {
  readonly authEvents: readonly EventNumber[]
  /** 1 + the largest of its auth events': greater than that of any event in its auth chain. */
  readonly authDepth: number
}

/** So many levels of ancestors come with what was asked for, and so many events at most. */
const LEVELS = 24
const MOST = 4_000

/** The edges of these events, and of as many events before them as one statement may bring. */
export async function loadAuthEdges(
  { db, memory }: Stores,
  room: RoomNumber,
  wanted: readonly EventNumber[],
): Promise<Map<EventNumber, AuthEdges>> {
  const { rows } = await sql<{ event: EventNumber; auth_events: EventNumber[]; auth_depth: number }>`
    with recursive walk (event, level) as (
      select unnest(${listOf(wanted, 'bigint')}), 0
      union
      select authority, level + 1
      from walk join event on event.room = ${room} and event.event = walk.event, unnest(event.auth_events) as authority
      where level < ${LEVELS}
    )
    select event, auth_events, auth_depth from event
    where room = ${room} and event in (select event from walk limit ${MOST + wanted.length})
  `.execute(db)
  const found = new Map<EventNumber, AuthEdges>()
  for (const row of rows) {
    const edges = { authEvents: row.auth_events, authDepth: row.auth_depth }
    found.set(row.event, edges)
    memory.authEdges.set(row.event, edges)
  }
  return found
}

/** The auth chain of events: without these, unless one of them is in that of another. No more than `limit`, if that is given. */
export async function authChainOf(
  { db }: Stores,
  room: RoomNumber,
  events: readonly EventNumber[],
  limit?: number,
): Promise<EventNumber[]> {
  const { rows } = await sql<{ event: EventNumber }>`
    with recursive chain (event) as (
      select authority from event cross join unnest(auth_events) as authority
      where room = ${room} and event = any(${[...events]}::bigint[])
      union
      select authority from chain join event on event.room = ${room} and event.event = chain.event
        cross join unnest(event.auth_events) as authority
    )
    select event from chain limit ${limit ?? null}
  `.execute(db)
  return rows.map((row) => row.event)
}

/** A state event that names one of those asked for as its auth event. */
export interface AuthChild {
  readonly event: EventNumber
  readonly stateKey: StateKeyNumber
  readonly authEvents: readonly EventNumber[]
}

/** State events with an auth edge to one of these, at most `limit` of each. Uncommitted events are not among them. */
export async function authChildren(
  { db }: Stores,
  room: RoomNumber,
  events: readonly EventNumber[],
  limit: number,
): Promise<Map<EventNumber, AuthChild[]>> {
  const { rows } = await sql<{
    parent: EventNumber
    event: EventNumber
    state_key: StateKeyNumber
    auth_events: EventNumber[]
  }>`
    select parent, child.* from unnest(${listOf(events, 'bigint')}) as parent, lateral (
      -- materialized: planned as if all were wanted, which is by the index of auth edges; only so many are fetched
      with standing as materialized (
        select room, event, state_key, auth_events from event where auth_events @> array[parent] and state_key is not null
      )
      select event, state_key, auth_events from standing where room = ${room} limit ${limit}
    ) as child
  `.execute(db)
  const children = new Map<EventNumber, AuthChild[]>(events.map((event) => [event, []]))
  for (const { parent, event, state_key, auth_events } of rows) {
    children.get(parent)!.push({ event, stateKey: state_key, authEvents: auth_events })
  }
  return children
}

/** The power levels events that these stand on, and those on which those stand, at most `limit`, in one statement. */
export async function powerLevelsBefore(
  { db }: Stores,
  room: RoomNumber,
  events: readonly EventNumber[],
  limit: number,
): Promise<EventNumber[]> {
  const { rows } = await sql<{ event: EventNumber }>`
    with recursive line (event) as (
      select unnest(${listOf(events, 'bigint')})
      union
      select before.event
      from line join event on event.room = ${room} and event.event = line.event
        cross join unnest(event.auth_events) as authority
        join event before on before.room = ${room} and before.event = authority
      where before.type = 'm.room.power_levels'::bytea
    )
    select event from line limit ${limit}
  `.execute(db)
  return rows.map((row) => row.event)
}
