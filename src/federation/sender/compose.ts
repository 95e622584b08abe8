/**
 * What the next transaction to a destination holds, read from where it stands: PDUs from the events of the rooms that are
 * marked, EDUs from the outbox, and what waits in memory. Nothing is written here.
 */
import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { encodeBase64Url } from '../../protocol/base64.js'
import {
  newestOfLong,
  waitingEvents,
  waitingRooms,
  type Covered,
  type OpenTransaction,
  type WaitingEvent,
  type WaitingRoom,
} from '../../store/destinations.js'
import { waitingEdus } from '../../store/federation-outbox.js'
import type { Stores } from '../../store/stores.js'
import type { Tables } from '../../store/tables.js'
import type { CoalescedEdus } from './coalesced-edus.js'

export interface ComposeDeps {
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly serverName: string
  readonly coalesced: CoalescedEdus
  /** In ms. */
  readonly now: () => number
}

/** "a maximum of 50 PDUs and 100 EDUs" */
const MOST_PDUS = 50
const MOST_EDUS = 100
/** Of EDUs in a transaction. One alone may be larger. */
const MOST_EDU_BYTES = 1024 * 1024
/** Events of a room that wait. Beyond, only the newest goes: the destination asks for those before it, if it wants them. */
export const FAR_BEHIND = 200

/** undefined: nothing waits. A transaction without content covers rooms in which nothing is for the destination. */
export async function compose(deps: ComposeDeps, destination: string): Promise<OpenTransaction | undefined> {
  const { events, rooms } = await nextEvents(deps, destination)
  const durable = await waitingEdus(deps.db, destination, { limit: MOST_EDUS, bytes: MOST_EDU_BYTES })
  const edus = durable.map(({ edu }) => edu)
  edus.push(...deps.coalesced.take(destination, MOST_EDUS - edus.length))
  if (rooms.length === 0 && edus.length === 0) return undefined
  const pdus = await textsOf(deps, events)
  return {
    id: encodeBase64Url(randomBytes(15)),
    body: bodyOf(deps, pdus, edus),
    rooms,
    outbox: durable.map(({ number }) => number),
    pdus: pdus.length,
    edus: edus.length,
  }
}

async function nextEvents(
  { db }: ComposeDeps,
  destination: string,
): Promise<{ events: readonly WaitingEvent[]; rooms: Covered['rooms'] }> {
  const marked = await waitingRooms(db, destination, MOST_PDUS)
  const rooms = await withoutLong(db, destination, marked)
  const events = rooms.length === 0 ? [] : await waitingEvents(db, destination, rooms, MOST_PDUS)
  return { events, rooms: coveredBy(rooms, events) }
}

async function withoutLong(
  db: Kysely<Tables>,
  destination: string,
  rooms: readonly WaitingRoom[],
): Promise<readonly WaitingRoom[]> {
  // Each event has a position of its own: in fewer positions there are no more events.
  const suspects = rooms.filter(({ from, to }) => to - from >= FAR_BEHIND)
  if (suspects.length === 0) return rooms
  const newest = await newestOfLong(db, destination, suspects, FAR_BEHIND)
  return rooms.map((room) => ({ ...room, from: newest.get(room.room) ?? room.from }))
}

/** Where the events end for want of space, their last room is covered up to there and the rooms after it are not. */
function coveredBy(rooms: readonly WaitingRoom[], events: readonly WaitingEvent[]): Covered['rooms'] {
  const last = events.length < MOST_PDUS ? undefined : events.at(-1)
  if (last === undefined) return rooms.map(({ room, to }) => [room, to])
  const place = rooms.findIndex(({ room }) => room === last.room)
  return [...rooms.slice(0, place).map(({ room, to }) => [room, to] as const), [last.room, last.position]]
}

async function textsOf({ stores }: ComposeDeps, events: readonly WaitingEvent[]): Promise<string[]> {
  const stored = await stores.events.eventsOfRooms(events)
  return events.flatMap(({ event }) => stored.get(event)?.text ?? [])
}

/** Of canonical texts the canonical text: the keys stand in their order. */
const bodyOf = ({ serverName, now }: ComposeDeps, pdus: readonly string[], edus: readonly string[]): string =>
  `{"edus":[${edus.join(',')}],"origin":${JSON.stringify(serverName)},"origin_server_ts":${now()},"pdus":[${pdus.join(',')}]}`
