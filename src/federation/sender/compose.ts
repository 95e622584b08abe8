/**
 * What the next transaction to a destination holds, read from where it stands: PDUs from the events of the rooms that are
 * marked, EDUs from the outbox, and what waits in memory. For many destinations together, in one statement of each kind.
 * Nothing is written here.
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
import { waitingEdus, type WaitingEdu } from '../../store/federation-outbox.js'
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

export interface Sizes {
  readonly pdus: number
  readonly edus: number
}

/** "a maximum of 50 PDUs and 100 EDUs" */
export const WHOLE: Sizes = { pdus: 50, edus: 100 }
/** One PDU; where none waits, one EDU. */
export const SPLIT: Sizes = { pdus: 1, edus: 1 }
/** Of EDUs in a transaction. One alone may be larger. */
const MOST_EDU_BYTES = 1024 * 1024
/** Events of a room that wait. Beyond, only the newest goes: the destination asks for those before it, if it wants them. */
export const FAR_BEHIND = 200

/** Absent: nothing waits. A transaction without content covers rooms in which nothing is for the destination. */
export async function compose(
  deps: ComposeDeps,
  destinations: readonly string[],
  sizes = WHOLE,
): Promise<Map<string, OpenTransaction>> {
  if (destinations.length === 0) return new Map()
  const [marked, durable] = await Promise.all([
    waitingRooms(deps.db, destinations, sizes.pdus).then((rooms) => withoutLong(deps, rooms)),
    waitingEdus(deps.db, destinations, { limit: sizes.edus, bytes: MOST_EDU_BYTES }).then(byDestination),
  ])
  const events = marked.length === 0 ? [] : await waitingEvents(deps.db, marked, sizes.pdus)
  const stored = await deps.stores.events.eventsOfRooms(events)
  const [roomsOf, eventsOf] = [byDestination(marked), byDestination(events)]
  const composed = new Map<string, OpenTransaction>()
  for (const destination of destinations) {
    const waiting = {
      rooms: coveredBy(roomsOf.get(destination) ?? [], eventsOf.get(destination) ?? [], sizes),
      pdus: (eventsOf.get(destination) ?? []).flatMap(({ event }) => stored.get(event)?.text ?? []),
      edus: durable.get(destination) ?? [],
    }
    const transaction = transactionOf(deps, destination, waiting, sizes)
    if (transaction !== undefined) composed.set(destination, transaction)
  }
  return composed
}

function transactionOf(
  deps: ComposeDeps,
  destination: string,
  { rooms, pdus, edus }: { rooms: Covered['rooms']; pdus: readonly string[]; edus: readonly WaitingEdu[] },
  sizes: Sizes,
): OpenTransaction | undefined {
  const durable = sizes === SPLIT && pdus.length > 0 ? [] : edus
  const texts = durable.map(({ edu }) => edu)
  if (durable === edus) texts.push(...deps.coalesced.take(destination, sizes.edus - texts.length))
  if (rooms.length === 0 && texts.length === 0) return undefined
  return {
    id: encodeBase64Url(randomBytes(15)),
    body: bodyOf(deps, pdus, texts),
    rooms,
    outbox: durable.map(({ number }) => number),
    pdus: pdus.length,
    edus: texts.length,
    createdTs: deps.now(),
    refusals: 0,
    refusedTs: undefined,
  }
}

function byDestination<T extends { readonly destination: string }>(rows: readonly T[]): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const group = groups.get(row.destination)
    if (group === undefined) groups.set(row.destination, [row])
    else group.push(row)
  }
  return groups
}

async function withoutLong({ db }: ComposeDeps, rooms: readonly WaitingRoom[]): Promise<readonly WaitingRoom[]> {
  // Each event has a position of its own: in fewer positions there are no more events.
  const suspects = rooms.filter(({ from, to }) => to - from >= FAR_BEHIND)
  if (suspects.length === 0) return rooms
  const key = ({ destination, room }: WaitingRoom) => `${room} ${destination}`
  const newest = new Map((await newestOfLong(db, suspects, FAR_BEHIND)).map((room) => [key(room), room]))
  return rooms.map((room) => newest.get(key(room)) ?? room)
}

/** Where the events end for want of space, their last room is covered up to there and the rooms after it are not. */
function coveredBy(rooms: readonly WaitingRoom[], events: readonly WaitingEvent[], { pdus }: Sizes): Covered['rooms'] {
  const last = events.length < pdus ? undefined : events.at(-1)
  if (last === undefined) return rooms.map(({ room, to }) => [room, to])
  const place = rooms.findIndex(({ room }) => room === last.room)
  return [...rooms.slice(0, place).map(({ room, to }) => [room, to] as const), [last.room, last.position]]
}

/** Of canonical texts the canonical text: the keys stand in their order. */
const bodyOf = ({ serverName, now }: ComposeDeps, pdus: readonly string[], edus: readonly string[]): string =>
  `{"edus":[${edus.join(',')}],"origin":${JSON.stringify(serverName)},"origin_server_ts":${now()},"pdus":[${pdus.join(',')}]}`
