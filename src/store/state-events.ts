/** The events of a state, many at once. Nothing here decides who may read them; that is the gate's (src/room/gate.ts). */
import { sql, type RawBuilder } from 'kysely'
import type { EventNumber, RoomNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import { entries, lookUpMany } from '../protocol/state-trie.js'
import type { StateKeyPair } from './state-keys.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

/** All of them, in no order; members left out on demand, since there may be many thousands. */
export async function stateEvents(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  which: 'all' | 'without members' = 'all',
): Promise<StoredEvent[]> {
  const wanted = await stateEventNumbers(stores, room, state, which)
  return [...(await stores.events.events(room, wanted)).values()]
}

export async function stateEventNumbers(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  which: 'all' | 'without members' = 'all',
): Promise<EventNumber[]> {
  const all = await stores.states.work(room, (segments) => entries(segments, state))
  const numbers = all.map(([, event]) => event)
  return which === 'all' ? numbers : withoutMembers(stores, room, numbers)
}

async function withoutMembers(stores: Stores, room: RoomNumber, numbers: EventNumber[]): Promise<EventNumber[]> {
  const { rows } = await sql<{ event: EventNumber }>`
    select event from event
    where room = ${room} and event = any(${numbers}::bigint[]) and type <> ${Buffer.from('m.room.member')}
  `.execute(stores.db)
  return rows.map((row) => row.event)
}

/** The memberships of a server's users, whatever they are. */
export async function membersOfServer(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  server: string,
): Promise<StoredEvent[]> {
  const suffix = Buffer.from(`:${server}`)
  return stateEventsWhere(
    stores,
    room,
    state,
    sql`type = ${Buffer.from('m.room.member')}
      and substring(key from greatest(1, length(key) - ${suffix.length - 1}::int)) = ${suffix}`,
  )
}

/** The events of a type. Walks through the whole state. */
export async function stateEventsOfType(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  type: string,
): Promise<StoredEvent[]> {
  return stateEventsWhere(stores, room, state, sql`type = ${Buffer.from(type)}`)
}

async function stateEventsWhere(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  /** On `state_key`. */
  condition: RawBuilder<unknown>,
): Promise<StoredEvent[]> {
  const all = new Map(await stores.states.work(room, (segments) => entries(segments, state)))
  const { rows } = await sql<{ state_key: StateKeyNumber }>`
    select state_key from state_key where state_key = any(${[...all.keys()]}::bigint[]) and ${condition}
  `.execute(stores.db)
  const wanted = rows.flatMap(({ state_key }) => all.get(state_key) ?? [])
  return [...(await stores.events.events(room, wanted)).values()]
}

/** The events at these keys; keys that are not in the state have none. */
export async function stateEventsAt(
  stores: Stores,
  room: RoomNumber,
  state: StateReference,
  keys: readonly StateKeyPair[],
): Promise<StoredEvent[]> {
  const interned = await stores.keys.find(keys)
  const found = await stores.states.work(room, (segments) => lookUpMany(segments, state, interned.values()))
  return [...(await stores.events.events(room, [...found.values()])).values()]
}
