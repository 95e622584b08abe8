/**
 * Where users have read up to. A room keeps running counts of the events that notify, or highlight, by the default rules;
 * what is unread is the growth of these since the user's own mark: the newest of their receipts, of the events they sent
 * themselves, and of their joining. Threads have marks of their own, and so their events are looked at one by one.
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 */
import { sql, type Kysely } from 'kysely'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import type { EventNumber, RoomNumber } from '../protocol/numbers.js'
import { noUsers } from './ignored-users.js'
import type { LogTables } from './log-tables.js'
import type { StoredEvent } from './stored-event.js'
import type { Stores } from './stores.js'

/** A place in a room, with the room's counts there. */
export interface ReadMark {
  /** The order in the room, without its minor part. */
  readonly anchor: number
  readonly notifyCount: number
  readonly highlightCount: number
}

/** A mark and what it is good for: '' the whole room, 'main' what is in no thread, otherwise the root of a thread. */
export interface ThreadMark extends ReadMark {
  readonly thread: string
}

/** An event in a thread that notifies, or one that notifies others only. */
export interface UnreadThreadEvent {
  readonly event: EventNumber
  readonly thread: string
  readonly anchor: number
  /** The user's own, or of somebody they ignore: it stands in the running counts, and is not unread. */
  readonly isForOthers?: boolean
  readonly highlightsAll?: boolean
}

export interface UnreadRow {
  readonly room: RoomNumber
  /** The room's counts now. */
  readonly notifyCount: number
  readonly highlightCount: number
  /** In no order. */
  readonly marks: readonly ThreadMark[]
  /** After the newest mark of the whole room, oldest first; those of ignored users also where they are in no thread. */
  readonly threadEvents: readonly UnreadThreadEvent[]
  /** Events that highlight for this user and not for all, oldest first. */
  readonly highlights: readonly UnreadThreadEvent[]
}

/** The thread an event says it is in. Edits and reactions in threads, which say so by their target only, do not notify. */
export function threadOf(content: JsonObject): string {
  const relation = own(content, 'm.relates_to')
  if (!isObject(relation) || own(relation, 'rel_type') !== 'm.thread') return 'main'
  return ownString(relation, 'event_id') ?? 'main'
}

/** Farther back than so many events of a room nothing is looked for one by one: receipts since then say more. */
const DEPTH = 1_000
/** Of the texts of events in threads, and of few others. Looked up one by one, and only where all else is right. */
const isInThread = (event: string) =>
  sql<boolean>`(select body like '%"m.thread"%' from event_text t where t.room = w.room and t.event = ${sql.ref(`${event}.event`)})`
/** Rooms with something unread that are looked at so closely, the most recently active ones. */
const MAX_ROOMS = 200
/** The same of rooms whose main timeline is read, where threads may still hold something. */
const MAX_READ_ROOMS = 50

export interface UnreadOptions {
  /** All that the user is joined to, when not given. */
  readonly rooms?: readonly RoomNumber[]
  /** Users whose events are not unread. */
  readonly ignored?: ReadonlySet<string>
}

/** A handful of statements, however many rooms. */
export async function unreadOf(
  stores: Stores,
  userId: string,
  { rooms, ignored = noUsers }: UnreadOptions = {},
): Promise<UnreadRow[]> {
  const { db } = stores
  const counts = await countsOf(db, userId, rooms)
  const marks = await receiptMarks(db, userId, counts)
  for (const { room, ...joined } of counts) if (joined.joined !== undefined) push(marks, room, joined.joined)
  counts.sort((a, b) => b.lastActivityTs - a.lastActivityTs)
  const grown = counts.filter(({ room, notifyCount }) => notifyCount > roomMark(marks.get(room) ?? []).notifyCount)
  const isMainUnread = ({ room, notifyCount }: Counts) => notifyCount > mainMark(marks.get(room) ?? []).notifyCount
  const unread = grown.filter((one) => isMainUnread(one)).slice(0, MAX_ROOMS)
  const close = [...unread, ...grown.filter((one) => !isMainUnread(one)).slice(0, MAX_READ_ROOMS)]
  for (const [room, mark] of await ownMarks(stores, userId, close, marks)) push(marks, room, mark)
  const { threadEvents, own } = await eventsInThreads(stores, userId, close, marks, ignored)
  for (const [room, mark] of own) push(marks, room, mark)
  const highlights = await highlightsOf(stores, userId, ignored)
  return counts.map(({ room, notifyCount, highlightCount }) => ({
    room,
    notifyCount,
    highlightCount,
    marks: marks.get(room) ?? [],
    threadEvents: threadEvents.get(room) ?? [],
    highlights: highlights.get(room) ?? [],
  }))
}

/** The newest mark of what is in no thread. */
export function mainMark(marks: readonly ThreadMark[]): ReadMark {
  return newest(marks.filter(({ thread }) => thread === '' || thread === 'main'))
}

/** The newest mark of the room with all its threads. */
export const roomMark = (marks: readonly ThreadMark[]): ReadMark => newest(marks.filter(({ thread }) => thread === ''))

const beginning: ReadMark = { anchor: 0, notifyCount: 0, highlightCount: 0 }

const newest = (marks: readonly ReadMark[]): ReadMark =>
  marks.reduce((last, mark) => (mark.anchor > last.anchor ? mark : last), beginning)

interface Counts {
  readonly room: RoomNumber
  readonly notifyCount: number
  readonly highlightCount: number
  readonly lastActivityTs: number
  readonly joined: ThreadMark | undefined
}

async function countsOf(db: Kysely<LogTables>, userId: string, rooms?: readonly RoomNumber[]): Promise<Counts[]> {
  const within = rooms === undefined ? sql`true` : sql`m.room = any(${[...rooms]}::int[])`
  const { rows } = await sql<{
    room: RoomNumber
    notify_count: number
    highlight_count: number
    last_activity_ts: number
    anchor: number | null
    joined_notify: number
    joined_highlight: number
  }>`
    select m.room, room.notify_count, room.highlight_count, room.last_activity_ts,
      e.anchor, e.notify_count as joined_notify, e.highlight_count as joined_highlight
    from membership m join room using (room) left join event e on e.room = m.room and e.event = m.event
    where m.user_id = ${userId} and m.membership = 'join' and ${within}
  `.execute(db)
  return rows.map((row) => ({
    room: row.room,
    notifyCount: row.notify_count,
    highlightCount: row.highlight_count,
    lastActivityTs: row.last_activity_ts,
    joined:
      row.anchor === null
        ? undefined
        : { thread: '', anchor: row.anchor, notifyCount: row.joined_notify, highlightCount: row.joined_highlight },
  }))
}

async function receiptMarks(
  db: Kysely<LogTables>,
  userId: string,
  counts: readonly Counts[],
): Promise<Map<RoomNumber, ThreadMark[]>> {
  const marks = new Map<RoomNumber, ThreadMark[]>()
  const { rows } = await sql<{
    room: RoomNumber
    thread_id: string
    anchor: number
    notify_count: number
    highlight_count: number
  }>`
    select r.room, r.thread_id, e.anchor, r.notify_count, r.highlight_count
    from receipt r join event e using (room, event)
    where r.room = any(${counts.map(({ room }) => room)}::int[]) and r.user_id = ${userId}
      and r.receipt_type in ('m.read', 'm.read.private') and e.anchor is not null
  `.execute(db)
  for (const row of rows) {
    const { room, thread_id: thread, anchor, notify_count: notifyCount, highlight_count: highlightCount } = row
    push(marks, room, { thread, anchor, notifyCount, highlightCount })
  }
  return marks
}

/** "When the user updates their read receipt (either by using the API or by sending an event) …": in no thread. */
async function ownMarks(
  stores: Stores,
  userId: string,
  rooms: readonly Counts[],
  marks: ReadonlyMap<RoomNumber, readonly ThreadMark[]>,
): Promise<[RoomNumber, ThreadMark][]> {
  if (rooms.length === 0) return []
  const wanted = rooms.map(({ room }) => ({ room, anchor: roomMark(marks.get(room) ?? []).anchor }))
  const { rows } = await sql<{ room: RoomNumber; event: EventNumber }>`
    select w.room, e.event from json_to_recordset(${JSON.stringify(wanted)}) as w (room int, anchor bigint)
    cross join lateral (
      select event from (
        select event, sender, anchor, minor from event
        where event.room = w.room and event.anchor > w.anchor and event.anchor is not null
        order by anchor desc, minor desc limit ${DEPTH}
      ) newest
      where sender = ${userId} and not ${isInThread('newest')} order by anchor desc, minor desc limit 1
    ) e
  `.execute(stores.db)
  const events = await stores.events.eventsOfRooms(rows)
  return [...events.values()].map((event) => [event.room, markAt(event)])
}

/** Reading up to an event of its own thread, as who sent it has. */
export const markAt = ({ event, anchor, notifyCount, highlightCount }: StoredEvent): ThreadMark => ({
  thread: threadOf(event.content),
  anchor: anchor ?? 0,
  notifyCount,
  highlightCount,
})

/** Those that notify, and by which the user has read their threads: the newest of their own in each. */
async function eventsInThreads(
  stores: Stores,
  userId: string,
  rooms: readonly Counts[],
  marks: ReadonlyMap<RoomNumber, readonly ThreadMark[]>,
  ignored: ReadonlySet<string>,
): Promise<{ threadEvents: Map<RoomNumber, UnreadThreadEvent[]>; own: Iterable<[RoomNumber, ThreadMark]> }> {
  const threadEvents = new Map<RoomNumber, UnreadThreadEvent[]>()
  const own = new Map<string, [RoomNumber, ThreadMark]>()
  if (rooms.length === 0) return { threadEvents, own: [] }
  const wanted = rooms.map(({ room, notifyCount }) => {
    const mark = roomMark(marks.get(room) ?? [])
    const { anchor, notifyCount: first, highlightCount: highlights } = mark
    return { room, anchor, first, highlights, last: notifyCount }
  })
  const { rows } = await sql<{ room: RoomNumber; event: EventNumber; notifies: boolean; highlights_all: boolean }>`
    select w.room, e.event, e.notify_count > e.before and e.notify_count <= w.last as notifies,
      e.highlight_count > e.highlights_before as highlights_all
    from json_to_recordset(${JSON.stringify(wanted)})
      as w (room int, anchor bigint, first bigint, highlights bigint, last bigint)
    cross join lateral (
      select event, sender, notify_count, lag(notify_count, 1, w.first) over (order by anchor, minor) as before,
        highlight_count, lag(highlight_count, 1, w.highlights) over (order by anchor, minor) as highlights_before
      from (
        select event, sender, anchor, minor, notify_count, highlight_count from event
        where event.room = w.room and event.anchor > w.anchor and event.anchor is not null
        order by anchor desc, minor desc limit ${DEPTH}
      ) newest
    ) e
    where (e.notify_count > e.before and e.notify_count <= w.last and e.sender = any(${[...ignored]}::text[]))
      or ((e.sender = ${userId} or (e.notify_count > e.before and e.notify_count <= w.last)) and ${isInThread('e')})
  `.execute(stores.db)
  const attention = new Map(rows.map((row) => [row.event, row]))
  const events = [...(await stores.events.eventsOfRooms(rows)).values()]
  for (const event of events.sort((a, b) => (a.anchor ?? 0) - (b.anchor ?? 0))) {
    const { sender } = event.event
    const mark = markAt(event)
    const { thread, anchor } = mark
    const { notifies, highlights_all: highlightsAll } = attention.get(event.number)!
    if (sender === userId) own.set(`${event.room} ${thread}`, [event.room, mark])
    const isForOthers = sender === userId || ignored.has(sender)
    if (notifies && (thread !== 'main' || isForOthers))
      push(threadEvents, event.room, { event: event.number, thread, anchor, isForOthers, highlightsAll })
  }
  return { threadEvents, own: own.values() }
}

/** Rows go when the receipts of their user have passed them: there are few. */
async function highlightsOf(
  stores: Stores,
  userId: string,
  ignored: ReadonlySet<string>,
): Promise<Map<RoomNumber, UnreadThreadEvent[]>> {
  const rows = await stores.db
    .selectFrom('highlight')
    .select(['room', 'event'])
    .where('user_id', '=', userId)
    .orderBy('position', 'desc')
    .limit(DEPTH)
    .execute()
  const events = await stores.events.eventsOfRooms(rows)
  const byRoom = new Map<RoomNumber, UnreadThreadEvent[]>()
  for (const { event } of rows.reverse()) {
    const stored = events.get(event)
    // What is left of a redacted event mentions nobody.
    if (stored === undefined || stored.redactedBy !== undefined || ignored.has(stored.event.sender)) continue
    push(byRoom, stored.room, { event, ...markAt(stored) })
  }
  return byRoom
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
