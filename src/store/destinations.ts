/**
 * Sending to other servers: what waits for each, the transaction that is on its way, and who sends (src/federation/sender).
 *
 * A destination is written under the name of the lease that holds it: a process that was away too long finds, in the
 * statement that would have written, that another has gone on. A lease ends by the clock of the database; everything
 * else goes by the clock of the caller.
 *
 * The log writer locks marks in the order of their key while it holds the log's lock, so whoever moves marks here locks
 * them in that order too, last in the transaction, and commits.
 */
import { sql, type Kysely, type RawBuilder, type Transaction } from 'kysely'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import { isGone } from './processes.js'
import type { Tables } from './tables.js'

export interface DestinationTables {
  room_server: {
    room: RoomNumber
    server: string
    from_position: Position
    to_position: Position | null
    joined: number
  }
  destination_room: { destination: string; room: RoomNumber; from_position: Position; to_position: Position }
  destination: {
    destination: string
    failures: number
    retry_ts: number
    last_error: string | null
    last_success_ts: number | null
    lease_holder: string | null
    lease_until_ts: number
    used_ts: number
  }
  destination_transaction: {
    destination: string
    transaction_id: string
    body: string
    rooms: [RoomNumber, Position][]
    outbox: number[]
    pdus: number
    edus: number
    created_ts: number
  }
}

type Db = Kysely<Tables>

export interface Lease {
  readonly destination: string
  readonly holder: string
}

export interface Destination {
  readonly name: string
  /** Since the last success. */
  readonly failures: number
}

/** The lease ended and another process has it: what was to be written is not. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
  constructor({ destination }: Lease) {
    super(`another process sends to ${destination}`)
  }
}

/**
 * True, and the commit does not wait for the disk. For what may be lost with the database's last moment: a lease, or that
 * a transaction was answered, which then goes out again under its id.
 */
const withoutWaiting = sql<boolean>`(select set_config('synchronous_commit', 'off', true)) = 'off'`

const clock = sql`clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now)`

/**
 * undefined: another process sends, or it is not yet time. The holder may take it again, which makes it last longer.
 * `ms`: how long it lasts without a sign of life.
 */
export async function takeDestination(
  db: Db,
  { destination, holder }: Lease,
  ms: number,
  nowTs: number,
): Promise<Destination | undefined> {
  const { rows } = await sql<{ failures: number }>`
    with ${clock}
    insert into destination (destination, lease_holder, lease_until_ts, used_ts)
    select ${destination}, ${holder}, now + ${ms}, ${nowTs} from clock where ${withoutWaiting}
    on conflict (destination) do update
      set lease_holder = excluded.lease_holder, lease_until_ts = excluded.lease_until_ts, used_ts = excluded.used_ts
      where destination.retry_ts <= ${nowTs}
        and (destination.lease_holder = ${holder} or destination.lease_until_ts <= excluded.lease_until_ts - ${ms}
          or ${isGone(sql`destination.lease_holder`)})
    returning failures
  `.execute(db)
  return rows[0] && { name: destination, failures: rows[0].failures }
}

export async function releaseDestination(db: Db, { destination, holder }: Lease): Promise<void> {
  await sql`
    update destination set lease_holder = null, lease_until_ts = 0
    where destination = ${destination} and lease_holder = ${holder} and ${withoutWaiting}
  `.execute(db)
}

/** Rooms with something to send, those that have waited longest first. */
export interface WaitingRoom {
  readonly room: RoomNumber
  readonly from: Position
  readonly to: Position
}

export async function waitingRooms(db: Db, destination: string, limit: number): Promise<WaitingRoom[]> {
  const { rows } = await sql<WaitingRoom>`
    select room, from_position as from, to_position as to from destination_room
    where destination = ${destination} order by from_position limit ${limit}
  `.execute(db)
  return rows
}

/** An event that waits for a destination. */
export interface WaitingEvent {
  readonly room: RoomNumber
  readonly event: EventNumber
  readonly position: Position
}

/**
 * Whether a destination is sent an outgoing event: it had joined users in the state at it, or the event ends the
 * membership of one of its users; and the event is not its own, which is relayed to the others.
 */
const isFor = (destination: string): RawBuilder<boolean> => sql<boolean>`
  substr(e.sender, strpos(e.sender, ':') + 1) <> ${destination}
  and (
    exists (
      select from room_server s
      where s.room = e.room and s.server = ${destination} and s.from_position < e.position
        and (s.to_position is null or s.to_position >= e.position))
    or e.type = 'm.room.member'::bytea and exists (
      select from state_key k
      where k.state_key = e.state_key
        and substring(k.key from position(':'::bytea in k.key) + 1) = ${Buffer.from(destination, 'utf8')}))`

/**
 * As rows, and in the order of rows: so only the index of outgoing events gives the order. By the room and a position
 * alone it was planned as a walk along the positions of all rooms.
 */
const isWaiting = sql<boolean>`
  e.is_outgoing and (e.room, e.position) >= (r.room, r.first) and (e.room, e.position) <= (r.room, r.last)`

const listed = (rooms: readonly WaitingRoom[]): RawBuilder<unknown> => sql`
  unnest(${rooms.map(({ room }) => room)}::int[], ${rooms.map(({ from }) => from)}::bigint[],
    ${rooms.map(({ to }) => to)}::bigint[]) with ordinality as r (room, first, last, place)`

/** The first events of rooms, in the order in which the rooms are given and in each room in the order of the log. */
export async function waitingEvents(
  db: Db,
  destination: string,
  rooms: readonly WaitingRoom[],
  limit: number,
): Promise<WaitingEvent[]> {
  const { rows } = await sql<WaitingEvent>`
    select r.room, e.event, e.position from ${listed(rooms)} cross join lateral (
      select e.event, e.position from event e
      where ${isWaiting} and ${isFor(destination)}
      order by e.room, e.position limit ${limit}
    ) e
    order by r.place, e.position limit ${limit}
  `.execute(db)
  return rows
}

/** Of rooms, those in which more than `bound` events wait, with the position of the newest of them. */
export async function newestOfLong(
  db: Db,
  destination: string,
  rooms: readonly WaitingRoom[],
  bound: number,
): Promise<Map<RoomNumber, Position>> {
  const { rows } = await sql<{ room: RoomNumber; newest: Position }>`
    select r.room, (
      select e.position from event e
      where ${isWaiting} and ${isFor(destination)}
      order by e.room desc, e.position desc limit 1
    ) as newest
    from ${listed(rooms)}
    where exists (
      select from event e
      where ${isWaiting} and ${isFor(destination)}
      order by e.room, e.position offset ${bound})
  `.execute(db)
  return new Map(rows.map(({ room, newest }) => [room, newest]))
}

/** What a transaction says about: it was sent, or there was nothing to send. */
export interface Covered {
  /** Each room with the position up to which it is covered. */
  readonly rooms: readonly (readonly [RoomNumber, Position])[]
  /** Rows of the outbox. */
  readonly outbox: readonly number[]
}

export interface OpenTransaction extends Covered {
  readonly id: string
  /** Canonical JSON. */
  readonly body: string
  readonly pdus: number
  readonly edus: number
}

/** The transaction that is on its way, or whose outcome is unknown. */
export async function transactionInFlight(db: Db, destination: string): Promise<OpenTransaction | undefined> {
  const row = await db
    .selectFrom('destination_transaction')
    .selectAll()
    .where('destination', '=', destination)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { transaction_id: id, body, rooms, outbox, pdus, edus } = row
  return { id, body, rooms, outbox, pdus, edus }
}

/** @throws LeaseLost */
export async function putTransaction(db: Db, lease: Lease, open: OpenTransaction, nowTs: number): Promise<void> {
  const { id, body, rooms, outbox, pdus, edus } = open
  const { numAffectedRows } = await sql`
    insert into destination_transaction (destination, transaction_id, body, rooms, outbox, pdus, edus, created_ts)
    select destination, ${id}, ${body}, ${JSON.stringify(rooms)}::jsonb, ${[...outbox]}::bigint[], ${pdus}, ${edus}, ${nowTs}
    from destination where destination = ${lease.destination} and lease_holder = ${lease.holder}
    on conflict do nothing
  `.execute(db)
  if (numAffectedRows !== 1n) throw new LeaseLost(lease)
}

/** The destination has answered: the transaction goes with what it covers. @throws LeaseLost */
export async function closeTransaction(
  db: Db,
  lease: Lease,
  { id, rooms, outbox }: OpenTransaction,
  nowTs: number,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await requireLease(
      lease,
      sql`
        with gone as (
          delete from destination_transaction where destination = ${lease.destination} and transaction_id = ${id}
        ), sent as (
          delete from federation_outbox where number = any(${[...outbox]}::bigint[])
        )
        update destination set failures = 0, retry_ts = 0, last_error = null, last_success_ts = ${nowTs}
        where destination = ${lease.destination} and lease_holder = ${lease.holder} and ${withoutWaiting}`,
      trx,
    )
    await moveMarks(trx, lease.destination, rooms)
  })
}

/** What waits is not for the destination after all, or not any more. @throws LeaseLost */
export async function passOver(db: Db, lease: Lease, rooms: Covered['rooms']): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await requireLease(
      lease,
      sql`select from destination where destination = ${lease.destination} and lease_holder = ${lease.holder}`,
      trx,
    )
    await moveMarks(trx, lease.destination, rooms)
  })
}

async function requireLease(lease: Lease, statement: RawBuilder<unknown>, trx: Db): Promise<void> {
  const { numAffectedRows, rows } = await statement.execute(trx)
  if ((numAffectedRows ?? 0n) === 0n && rows.length === 0) throw new LeaseLost(lease)
}

/** A room in which something came meanwhile stays marked from there on. */
async function moveMarks(trx: Db, destination: string, rooms: Covered['rooms']): Promise<void> {
  if (rooms.length === 0) return
  const numbers = rooms.map(([room]) => room)
  await sql`
    select from destination_room where destination = ${destination} and room = any(${numbers}::int[])
    order by room for update
  `.execute(trx)
  await sql`
    with covered as (
      select * from unnest(${numbers}::int[], ${rooms.map(([, upTo]) => upTo)}::bigint[]) as x (room, up_to)
    ), done as (
      delete from destination_room m using covered
      where m.destination = ${destination} and m.room = covered.room and m.to_position <= up_to
    )
    update destination_room m set from_position = up_to + 1 from covered
    where m.destination = ${destination} and m.room = covered.room and m.to_position > up_to
  `.execute(trx)
}

/** Ends the lease, too. `error` is for the operator. */
export async function recordFailure(
  db: Db,
  { destination, holder }: Lease,
  { retryTs, error }: { readonly retryTs: number; readonly error: string },
): Promise<void> {
  await sql`
    update destination set failures = failures + 1, retry_ts = ${retryTs}, last_error = ${error},
      lease_holder = null, lease_until_ts = 0
    where destination = ${destination} and lease_holder = ${holder}
  `.execute(db)
}

/** The server is there, or the operator says so: it need not be waited for. Returns whether it was. */
export async function endWaiting(db: Db, destination: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update destination set failures = 0, retry_ts = 0 where destination = ${destination} and retry_ts > 0
  `.execute(db)
  return (numAffectedRows ?? 0n) > 0n
}

/**
 * Destinations for which something waits, whose time has come and to which nobody sends, wherever it came from. Each
 * table is looked at once for each destination in it and not for each row.
 */
export async function dueDestinations(db: Db, nowTs: number, limit: number): Promise<Destination[]> {
  const distinct = (table: string, name: string) => sql`
    ${sql.ref(name)} as (
      (select destination from ${sql.table(table)} order by destination limit 1)
      union all
      select (select destination from ${sql.table(table)} t where t.destination > before.destination
        order by destination limit 1)
      from ${sql.ref(name)} before where before.destination is not null
    )`
  const { rows } = await sql<Destination>`
    with recursive ${distinct('destination_room', 'in_rooms')}, ${distinct('federation_outbox', 'in_outbox')}, ${clock}
    select waiting.destination as name, coalesce(failures, 0) as failures
    from (
      select destination from in_rooms union select destination from in_outbox
      union select destination from destination_transaction
    ) waiting
    left join destination using (destination)
    where waiting.destination is not null and coalesce(retry_ts, 0) <= ${nowTs}
      and (coalesce(lease_until_ts, 0) <= (select now from clock) or ${isGone(sql`lease_holder`)})
    order by failures nulls first, used_ts nulls first limit ${limit}
  `.execute(db)
  return rows
}

/** Of the rooms and servers, destinations for which something waits and whose time has come. */
export async function destinationsOfRooms(db: Db, rooms: readonly RoomNumber[], nowTs: number): Promise<Destination[]> {
  const { rows } = await sql<Destination>`
    select marked.destination as name, coalesce(failures, 0) as failures
    from (select distinct destination from destination_room where room = any(${[...rooms]}::int[])) marked
    left join destination using (destination)
    where coalesce(retry_ts, 0) <= ${nowTs}
  `.execute(db)
  return rows
}

/** A destination as the operator sees it. */
export interface DestinationStatus {
  readonly destination: string
  readonly rooms: number
  readonly edus: number
  /** When the oldest that waits was made, in ms; null: nothing waits, or nothing that says. */
  readonly oldest_ts: number | null
  readonly failures: number
  readonly retry_ts: number
  readonly last_error: string | null
  readonly last_success_ts: number | null
  readonly in_flight: string | null
}

/** Those for which something waits or to which sending fails; or all. Those that are furthest behind come first. */
export async function destinationStatuses(
  db: Db,
  { all = false, destination }: { readonly all?: boolean; readonly destination?: string | undefined } = {},
): Promise<DestinationStatus[]> {
  const { rows } = await sql<DestinationStatus>`
    with marked as (
      select destination, count(*)::int as marks, min(from_position) as first from destination_room group by destination
    ), outbox as (
      select destination, count(*)::int as waiting, min(created_ts) as oldest from federation_outbox group by destination
    ), known as (
      select destination from destination union select destination from marked union select destination from outbox
    )
    select known.destination, coalesce(marks, 0) as rooms, coalesce(waiting, 0) as edus,
      least(outbox.oldest, t.created_ts, (
        select least(origin_server_ts, (extract(epoch from now()) * 1000)::bigint) from event
        where position >= marked.first order by position limit 1)
      ) as oldest_ts,
      coalesce(failures, 0) as failures, coalesce(retry_ts, 0) as retry_ts, last_error, last_success_ts,
      t.transaction_id as in_flight
    from known left join destination using (destination) left join marked using (destination)
      left join outbox using (destination) left join destination_transaction t using (destination)
    where (${destination ?? null}::text is null or known.destination = ${destination ?? null})
      and (${all} or failures > 0 or marks > 0 or waiting > 0 or t.transaction_id is not null)
    order by oldest_ts nulls last, known.destination
  `.execute(db)
  return rows
}

/** Forgets what waits for a server that will not come back, and what is on its way. It is sent what comes from now on. */
export async function forgetWaiting(trx: Transaction<Tables>, destination: string): Promise<void> {
  await trx.deleteFrom('destination_transaction').where('destination', '=', destination).execute()
  await trx.deleteFrom('federation_outbox').where('destination', '=', destination).execute()
  await sql`
    delete from destination_room where (destination, room) in (
      select destination, room from destination_room where destination = ${destination} order by room for update)
  `.execute(trx)
}
