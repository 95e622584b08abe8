/**
 * PDUs of other servers that wait to be decided (src/room/inbound), and the leases by which one process at a time works
 * off a room. Staging is durable: a transaction is answered after its PDUs are here. Rows of events that are stored go
 * with the transaction of the log writer that stores them, so that no crash decides an event twice or not at all.
 */
import { sql, type Kysely } from 'kysely'
import { listOf } from './lists.js'
import { isGone } from './processes.js'

export interface StagedPduTables {
  staged_pdu: {
    staged: number
    room_id: string
    event_id: string
    origin: string
    received_ts: number
    body: string
    attempts: number
    next_attempt_ts: number
    reason: string | null
    waits_for: string | null
  }
  inbound_lease: { room_id: string; holder: string; until_ts: number }
}

type Db = Kysely<StagedPduTables>

export interface NewStagedPdu {
  readonly roomId: string
  readonly eventId: string
  readonly text: string
}

export interface StagedPdu extends NewStagedPdu {
  readonly staged: number
  readonly origin: string
  readonly attempts: number
}

/** One that is there already from this origin stays as it is, and is not among those that are returned. */
export async function stage<P extends NewStagedPdu>(
  db: Db,
  origin: string,
  pdus: readonly P[],
  nowTs: number,
): Promise<(P & StagedPdu)[]> {
  if (pdus.length === 0) return []
  const { rows } = await sql<{ staged: number; room_id: string; event_id: string }>`
    insert into staged_pdu (room_id, event_id, origin, received_ts, body)
    select room_id, event_id, ${origin}, ${nowTs}, body
    from unnest(${pdus.map((pdu) => pdu.roomId)}::text[], ${pdus.map((pdu) => pdu.eventId)}::text[],
      ${pdus.map((pdu) => pdu.text)}::text[]) as x (room_id, event_id, body)
    on conflict (room_id, event_id, origin) do nothing returning staged, room_id, event_id
  `.execute(db)
  const numbers = new Map(rows.map((row) => [`${row.room_id} ${row.event_id}`, row.staged]))
  return pdus.flatMap((pdu) => {
    const key = `${pdu.roomId} ${pdu.eventId}`
    const staged = numbers.get(key)
    // A transaction may hold it twice.
    numbers.delete(key)
    return staged === undefined ? [] : [{ ...pdu, staged, origin, attempts: 0 }]
  })
}

/** How many PDUs are staged of each of the rooms, and how many of them from this origin. Rooms without any are absent. */
export async function stagedCounts(
  db: Db,
  origin: string,
  roomIds: readonly string[],
): Promise<Map<string, { all: number; ofOrigin: number }>> {
  const { rows } = await sql<{ room_id: string; all: number; of_origin: number }>`
    select room_id, count(*)::int as all, (count(*) filter (where origin = ${origin}))::int as of_origin
    from staged_pdu where room_id = any(${roomIds}::text[]) group by room_id
  `.execute(db)
  return new Map(rows.map((row) => [row.room_id, { all: row.all, ofOrigin: row.of_origin }]))
}

/** Rooms with something due, those that have waited longest first. */
export async function dueRooms(db: Db, nowTs: number, limit: number): Promise<string[]> {
  const { rows } = await sql<{ room_id: string }>`
    select room_id from staged_pdu where next_attempt_ts <= ${nowTs} group by room_id order by min(staged) limit ${limit}
  `.execute(db)
  return rows.map((row) => row.room_id)
}

/** What is due in a room, without what is in hand already: what is new in the order in which it came, then what was put off. */
export async function duePdus(
  db: Db,
  roomId: string,
  nowTs: number,
  { except, limit }: { readonly except: readonly number[]; readonly limit: number },
): Promise<StagedPdu[]> {
  const { rows } = await sql<StagedPduTables['staged_pdu']>`
    select staged, room_id, event_id, origin, attempts, body from staged_pdu
    where room_id = ${roomId} and next_attempt_ts <= ${nowTs} and staged <> all(${except}::bigint[])
    order by next_attempt_ts, staged limit ${limit}
  `.execute(db)
  return rows.map(stagedPdu)
}

/** Of these events, those that are staged, with the time at which they are due; by their ids. */
export async function stagedAmong(
  db: Db,
  roomId: string,
  eventIds: readonly string[],
): Promise<Map<string, { pdu: StagedPdu; nextAttemptTs: number }>> {
  if (eventIds.length === 0) return new Map()
  const { rows } = await sql<StagedPduTables['staged_pdu']>`
    select staged, room_id, event_id, origin, attempts, body, next_attempt_ts from staged_pdu
    where room_id = ${roomId} and event_id = any(${eventIds}::text[]) order by next_attempt_ts desc
  `.execute(db)
  return new Map(rows.map((row) => [row.event_id, { pdu: stagedPdu(row), nextAttemptTs: row.next_attempt_ts }]))
}

const stagedPdu = (row: StagedPduTables['staged_pdu']): StagedPdu => ({
  staged: row.staged,
  roomId: row.room_id,
  eventId: row.event_id,
  origin: row.origin,
  attempts: row.attempts,
  text: row.body,
})

export interface Postponement {
  readonly staged: number
  readonly reason: string
  readonly nextAttemptTs: number
  readonly waitsFor?: string
}

/** To be tried again, no sooner than said. Waiting for another event is no attempt. */
export async function postpone(db: Db, postponements: readonly Postponement[]): Promise<void> {
  if (postponements.length === 0) return
  const staged = postponements.map((one) => one.staged)
  const reasons = postponements.map(({ reason }) => reason)
  const times = postponements.map(({ nextAttemptTs }) => nextAttemptTs)
  const waits = postponements.map(({ waitsFor }) => waitsFor ?? null)
  await sql`
    update staged_pdu set reason = p.reason, next_attempt_ts = p.next_attempt_ts, waits_for = p.waits_for,
      attempts = attempts + case when p.waits_for is null then 1 else 0 end
    from unnest(
      ${listOf(staged, 'bigint')}, ${listOf(reasons, 'text')}, ${listOf(times, 'bigint')}, ${listOf(waits, 'text')}
    ) as p (staged, reason, next_attempt_ts, waits_for)
    where staged_pdu.staged = p.staged
  `.execute(db)
}

export interface EndedPdus {
  readonly roomId: string
  readonly eventIds: readonly string[]
}

/** Events that were stored or dropped: what waited for one of them is due. Returns for each whether anything of its room is. */
export async function endWaiting(db: Db, ended: readonly EndedPdus[]): Promise<boolean[]> {
  const roomIds = ended.flatMap(({ roomId, eventIds }) => eventIds.map(() => roomId))
  const ids = ended.flatMap(({ eventIds }) => eventIds)
  const { rows } = await sql<{ room_id: string }>`
    update staged_pdu set next_attempt_ts = 0, waits_for = null
    from unnest(${listOf(roomIds, 'text')}, ${listOf(ids, 'text')}) as ended (room_id, event_id)
    where staged_pdu.room_id = ended.room_id and waits_for = ended.event_id returning staged_pdu.room_id
  `.execute(db)
  const due = new Set(rows.map((row) => row.room_id))
  return ended.map(({ roomId }) => due.has(roomId))
}

/** What was put off in a room is due. */
export async function retryStaged(db: Db, roomId: string): Promise<void> {
  await sql`
    update staged_pdu set next_attempt_ts = 0, waits_for = null where room_id = ${roomId} and next_attempt_ts > 0
  `.execute(db)
}

export async function unstage(db: Db, staged: readonly number[]): Promise<void> {
  if (staged.length > 0) await sql`delete from staged_pdu where staged = any(${staged}::bigint[])`.execute(db)
}

/** For each whether it is the holder's: not when another process, which is not gone, works on the room. The holder may take it again, which makes it last longer. */
export async function takeLeases(db: Db, roomIds: readonly string[], holder: string, ms: number): Promise<boolean[]> {
  const { rows } = await sql<{ room_id: string }>`
    with clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now),
    wanted as (select distinct room_id from unnest(${roomIds}::text[]) as wanted (room_id)),
    ended as (
      delete from inbound_lease using clock
      where until_ts < now - 60000 and room_id not in (select room_id from wanted)
    )
    insert into inbound_lease (room_id, holder, until_ts)
    select room_id, ${holder}, now + ${ms} from clock, wanted order by room_id
    on conflict (room_id) do update set holder = excluded.holder, until_ts = excluded.until_ts
      where inbound_lease.holder = ${holder} or inbound_lease.until_ts < excluded.until_ts - ${ms}
        or ${isGone(sql`inbound_lease.holder`)}
    returning room_id
  `.execute(db)
  const taken = new Set(rows.map((row) => row.room_id))
  return roomIds.map((roomId) => taken.has(roomId))
}

export async function releaseLeases(db: Db, roomIds: readonly string[], holder: string): Promise<void> {
  await sql`delete from inbound_lease where room_id = any(${roomIds}::text[]) and holder = ${holder}`.execute(db)
}
