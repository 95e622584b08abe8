/**
 * Moving receipts and the fully-read marker of a user. https://spec.matrix.org/v1.19/client-server-api/#receipts
 *
 * A receipt says "up to here" and never moves backwards in the order of the room: a client that was offline, or two that
 * race, would make messages unread again.
 */
import type { Kysely } from 'kysely'
import { OneAtATime } from '../one-at-a-time.js'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { invalidParam } from '../protocol/matrix-error.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { parseJson } from '../protocol/strict-json.js'
import { accountData } from '../store/account-data.js'
import type { RoomOrder } from '../store/events.js'
import type { NewFact } from '../store/facts.js'
import type { LogTables } from '../store/log-tables.js'
import type { LogWriter } from '../store/log-writer.js'
import { receiptKey, receiptPlaces } from '../store/receipts.js'
import type { RoomName } from '../store/room-names.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import { userReader, type Gate } from './gate.js'
import { requireJoined, type Rooms } from './rooms.js'

export interface ReceiptDeps {
  readonly db: Kysely<LogTables>
  readonly stores: Stores
  readonly rooms: Rooms
  readonly gate: Gate
  readonly writer: Pick<LogWriter, 'write'>
}

export const markTypes = ['m.read', 'm.read.private', 'm.fully_read'] as const

/** A place up to which a user says to have read. */
export interface Mark {
  readonly type: (typeof markTypes)[number]
  readonly eventId: string
  /** `main`, or the event id of a thread's root; undefined for an unthreaded receipt. Never with `m.fully_read`. */
  readonly threadId?: string | undefined
  /** When, in ms; now if not given. */
  readonly ts?: number
}

type Place = RoomOrder & { readonly event: StoredEvent; readonly mark: Mark }

const moves = new OneAtATime()

/**
 * All or none. A mark that would not move forwards changes nothing.
 * @throws MatrixError 403 for who is not in the room, 404 for an event they cannot see, 400 for one of another thread.
 */
export async function moveMarks(
  deps: ReceiptDeps,
  name: RoomName & { readonly rules: RoomVersionRules },
  userId: string,
  marks: readonly Mark[],
): Promise<void> {
  requireJoined(await deps.rooms.membership(name, userId))
  const places = await Promise.all(marks.map((mark) => placeOf(deps, name, userId, mark)))
  await moves.run(`${name.room} ${userId}`, async () => {
    const facts = await factsOf(deps, name, userId, places)
    if (facts.length > 0) await deps.writer.write(facts)
  })
}

/** What became of a receipt: 'not here' is one of an event that has no place here (yet). */
export type Taken = 'moved' | 'no news' | 'not here'

/**
 * A receipt of a user of another server, as their server tells it. One of another thread, or of an event that the room
 * did not accept, or that would not move forwards, is no news.
 */
export async function takeReceipt(
  deps: Omit<ReceiptDeps, 'gate'>,
  name: RoomName,
  userId: string,
  mark: Mark,
): Promise<Taken> {
  const event = await deps.stores.events.byId(name.room, mark.eventId)
  if (event?.anchor === undefined) return event?.fate === 'rejected' ? 'no news' : 'not here'
  if (event.fate !== 'accepted') return 'no news'
  if (mark.threadId !== undefined && !(await isInThread(deps.stores, event, mark.threadId))) return 'no news'
  const place = { anchor: event.anchor, minor: event.minor, event, mark }
  return moves.run(`${name.room} ${userId}`, async () => {
    const facts = await factsOf(deps, name, userId, [place])
    if (facts.length > 0) await deps.writer.write(facts)
    return facts.length > 0 ? 'moved' : 'no news'
  })
}

async function placeOf(deps: ReceiptDeps, name: RoomName, userId: string, mark: Mark): Promise<Place> {
  const event: StoredEvent = await deps.gate.event(name, userReader({ userId }), mark.eventId)
  if (event.anchor === undefined) throw invalidParam('The event has no place in the timeline of the room')
  if (mark.threadId !== undefined) await requireInThread(deps.stores, event, mark.threadId)
  return { anchor: event.anchor, minor: event.minor, event, mark }
}

async function factsOf(
  deps: Omit<ReceiptDeps, 'gate'>,
  name: RoomName,
  userId: string,
  places: readonly Place[],
): Promise<NewFact[]> {
  const facts: NewFact[] = []
  const receipts = await receiptPlaces(deps.db, name.room, userId)
  for (const place of places) {
    const { type, threadId = '', eventId, ts = deps.rooms.deps.now() } = place.mark
    if (type === 'm.fully_read') {
      if (!isAfter(place, await fullyReadPlace(deps, name, userId))) continue
      const content = JSON.stringify({ event_id: eventId })
      facts.push({ kind: 'account-data', room: name.room, user: userId, type, content })
    } else if (isAfter(place, receipts.get(receiptKey(type, threadId)))) {
      facts.push({
        kind: 'receipt',
        room: name.room,
        user: userId,
        type,
        threadId,
        eventId,
        event: place.event.number,
        ts,
        notifyCount: place.event.notifyCount,
        highlightCount: place.event.highlightCount,
      })
    }
  }
  return facts
}

const isAfter = (place: RoomOrder, other: RoomOrder | undefined): boolean =>
  other === undefined || place.anchor > other.anchor || (place.anchor === other.anchor && place.minor > other.minor)

async function fullyReadPlace({ db, stores }: Omit<ReceiptDeps, 'gate'>, { room }: RoomName, userId: string) {
  const content = await accountData(db, userId, room, 'm.fully_read')
  const eventId = content === undefined ? undefined : ownString(parseJson(content).value as JsonObject, 'event_id')
  const event = eventId === undefined ? undefined : await stores.events.byId(room, eventId)
  return event?.anchor === undefined ? undefined : { anchor: event.anchor, minor: event.minor }
}

async function requireInThread(stores: Stores, event: StoredEvent, threadId: string): Promise<void> {
  if (!(await isInThread(stores, event, threadId))) throw invalidParam('The event is not in this thread')
}

/** A thread's root is in the main timeline, and may be marked in its thread too. */
const isInThread = async (stores: Stores, event: StoredEvent, threadId: string): Promise<boolean> =>
  threadId === event.event.eventId || threadId === (await threadOf(stores, event))

/** "a maximum of 3 hops is recommended to cover indirect relationships." */
const MAX_HOPS = 3

async function threadOf(stores: Stores, event: StoredEvent): Promise<string> {
  let current: StoredEvent | undefined = event
  for (let hops = 0; current !== undefined && hops <= MAX_HOPS; hops++) {
    const relation = own(current.event.content, 'm.relates_to')
    const parent = isObject(relation) ? ownString(relation, 'event_id') : undefined
    if (!isObject(relation) || parent === undefined) return 'main'
    if (own(relation, 'rel_type') === 'm.thread') return parent
    current = await stores.events.byId(event.room, parent)
  }
  return 'main'
}
