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
import { sql, type Generated, type Kysely, type RawBuilder, type Transaction } from 'kysely'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import { listOf } from './lists.js'
import { isGone } from './processes.js'
import type { Tables } from './tables.js'

export interface DestinationTables {
  room_server: {
    room: RoomNumber
    server: string
    from_position: Position
    to_position: Position | null
    joined: number
    is_claimed: Generated<boolean>
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
    is_split: Generated<boolean>
    given_up: Generated<number>
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
    refusals: Generated<number>
    refused_ts: number | null
  }
}

type Db = Kysely<Tables>

export interface Destination {
  readonly name: string
  /** Since the last success. */
  readonly failures: number
  /** It has never answered a transaction. Absent: nobody has looked. */
  readonly isStranger?: boolean
}

export interface TakenDestination extends Destination {
  /** A transaction is on its way to it, or its outcome is unknown. */
  readonly hasOpen: boolean
  /** It has refused what was sent together: it is sent one PDU or EDU at a time. */
  readonly isSplit: boolean
}

/** The lease ended and another process has it: what was to be written is not. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
  constructor(destination: string) {
    super(`another process sends to ${destination}`)
  }
}

/**
 * True, and the commit does not wait for the disk. For what may be lost with the database's last moment: a lease, or that
 * a transaction was answered, which then goes out again under its id.
 */
const withoutWaiting = sql<boolean>`(select set_config('synchronous_commit', 'off', true)) = 'off'`

const clock = sql`clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now)`

/** Who holds leases, and for how many ms without a sign of life. */
export interface Holder {
  readonly holder: string
  readonly lease: number
}

/** Absent: another process sends, or it is not yet time. The holder may take one again, which makes it last longer. */
export async function takeDestinations(
  db: Db,
  { holder, lease }: Holder,
  names: readonly string[],
  nowTs: number,
): Promise<Map<string, TakenDestination>> {
  const { rows } = await sql<TakenDestination>`
    with ${clock}
    insert into destination (destination, lease_holder, lease_until_ts, used_ts)
    select name, ${holder}, now + ${lease}, ${nowTs} from unnest(${[...names]}::text[]) name, clock where ${withoutWaiting}
    order by name collate "C"
    on conflict (destination) do update
      set lease_holder = excluded.lease_holder, lease_until_ts = excluded.lease_until_ts, used_ts = excluded.used_ts
      where destination.retry_ts <= ${nowTs}
        and (destination.lease_holder = ${holder} or destination.lease_until_ts <= excluded.lease_until_ts - ${lease}
          or ${isGone(sql`destination.lease_holder`)})
    returning destination as name, failures, is_split as "isSplit",
      exists (select from destination_transaction t where t.destination = destination.destination) as "hasOpen"
  `.execute(db)
  return new Map(rows.map((row) => [row.name, row]))
}

export async function releaseDestinations(db: Db, holder: string, names: readonly string[]): Promise<void> {
  await sql`
    with held as materialized (
      select destination from destination
      where destination = any(${[...names]}::text[]) and lease_holder = ${holder} and ${withoutWaiting}
      order by destination for update
    )
    update destination d set lease_holder = null, lease_until_ts = 0 from held where d.destination = held.destination
  `.execute(db)
}

/** A room with something to send to a destination. */
export interface WaitingRoom {
  readonly destination: string
  readonly room: RoomNumber
  readonly from: Position
  readonly to: Position
}

/** Of each destination so many rooms, those that have waited longest first. */
export async function waitingRooms(db: Db, destinations: readonly string[], limit: number): Promise<WaitingRoom[]> {
  const { rows } = await sql<WaitingRoom>`
    select d.destination, m.room, m.from_position as from, m.to_position as to
    from unnest(${listOf(destinations, 'text')}) with ordinality as d (destination, place) cross join lateral (
      select * from destination_room m where m.destination = d.destination order by m.from_position limit ${limit}
    ) m
    order by d.place, m.from_position
  `.execute(db)
  return rows
}

/** An event that waits for a destination. */
export interface WaitingEvent {
  readonly destination: string
  readonly room: RoomNumber
  readonly event: EventNumber
  readonly position: Position
}

/**
 * Whether a destination is sent an outgoing event: it had joined users in the state at it, or the event ends the
 * membership of one of its users; and the event is not its own, which is relayed to the others. What is its own is about
 * the sender alone: an invite in the name of one of its users was made here (room/third-party-invites.ts).
 */
const isFor = sql<boolean>`
  (substr(e.sender, strpos(e.sender, ':') + 1) <> r.destination
    or e.type = 'm.room.member'::bytea and not exists (
      select from state_key k where k.state_key = e.state_key and k.key = convert_to(e.sender, 'UTF8')))
  and (
    exists (
      select from room_server s
      where s.room = e.room and s.server = r.destination and s.from_position < e.position
        and (s.to_position is null or s.to_position >= e.position))
    or e.type = 'm.room.member'::bytea and exists (
      select from state_key k
      where k.state_key = e.state_key
        and substring(k.key from position(':'::bytea in k.key) + 1) = convert_to(r.destination, 'UTF8')))`

/**
 * As rows, and in the order of rows, by what only the index of outgoing events has: it alone finds them and gives their
 * order. By the room and a position alone it was planned as a walk along the positions of all rooms.
 */
const isWaiting = sql<boolean>`
  e.is_outgoing and (e.room::bigint, e.position) >= (r.room::bigint, r.first)
    and (e.room::bigint, e.position) <= (r.room::bigint, r.last)`

function listed(rooms: readonly WaitingRoom[]): RawBuilder<unknown> {
  const column = (name: keyof WaitingRoom, type: 'text' | 'int' | 'bigint') =>
    listOf(
      rooms.map((row) => row[name]),
      type,
    )
  return sql`
    unnest(${column('destination', 'text')}, ${column('room', 'int')}, ${column('from', 'bigint')}, ${column('to', 'bigint')})
      with ordinality as r (destination, room, first, last, place)`
}

/**
 * Of each destination the first events of its rooms, in the order in which the rooms are given and in each room in the
 * order of the log.
 */
export async function waitingEvents(db: Db, rooms: readonly WaitingRoom[], limit: number): Promise<WaitingEvent[]> {
  const { rows } = await sql<WaitingEvent>`
    select destination, room, event, position from (
      select r.destination, r.room, e.event, e.position, r.place,
        row_number() over (partition by r.destination order by r.place, e.position) as number
      from ${listed(rooms)} cross join lateral (
        select e.event, e.position from event e
        where ${isWaiting} and ${isFor}
        order by e.room::bigint, e.position limit ${limit}
      ) e
    ) x
    where number <= ${limit} order by place, position
  `.execute(db)
  return rows
}

/** Of rooms, those in which more than `bound` events wait, from the newest of them on. */
export async function newestOfLong(db: Db, rooms: readonly WaitingRoom[], bound: number): Promise<WaitingRoom[]> {
  const { rows } = await sql<WaitingRoom>`
    select r.destination, r.room, (
      select e.position from event e
      where ${isWaiting} and ${isFor}
      order by e.room::bigint desc, e.position desc limit 1
    ) as from, r.last as to
    from ${listed(rooms)}
    where exists (
      select from event e
      where ${isWaiting} and ${isFor}
      order by e.room::bigint, e.position offset ${bound})
  `.execute(db)
  return rows
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
  /** Since when it is on its way. */
  readonly createdTs: number
  /** How often its destination has said that it does not take what is in it, and since when. */
  readonly refusals: number
  readonly refusedTs: number | undefined
}

/** The transaction that is on its way, or whose outcome is unknown. */
export async function transactionInFlight(db: Db, destination: string): Promise<OpenTransaction | undefined> {
  const row = await db
    .selectFrom('destination_transaction')
    .selectAll()
    .where('destination', '=', destination)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { transaction_id: id, body, rooms, outbox, pdus, edus, created_ts: createdTs, refusals, refused_ts } = row
  return { id, body, rooms, outbox, pdus, edus, createdTs, refusals, refusedTs: refused_ts ?? undefined }
}

/** Returns the destinations whose transaction was written; of the others the lease is lost. */
export async function putTransactions(
  db: Db,
  holder: string,
  transactions: readonly (readonly [destination: string, OpenTransaction])[],
  nowTs: number,
): Promise<Set<string>> {
  const column = <T>(of: (transaction: OpenTransaction) => T): T[] => transactions.map(([, one]) => of(one))
  const { rows } = await sql<{ destination: string }>`
    insert into destination_transaction (destination, transaction_id, body, rooms, outbox, pdus, edus, created_ts)
    select destination, id, body, rooms::jsonb, outbox::bigint[], pdus, edus, ${nowTs}
    from unnest(${transactions.map(([destination]) => destination)}::text[], ${column(({ id }) => id)}::text[],
      ${column(({ body }) => body)}::text[], ${column(({ rooms }) => JSON.stringify(rooms))}::text[],
      ${column(({ outbox }) => `{${outbox.join()}}`)}::text[], ${column(({ pdus }) => pdus)}::int[],
      ${column(({ edus }) => edus)}::int[]) as x (destination, id, body, rooms, outbox, pdus, edus)
    join destination using (destination) where lease_holder = ${holder}
    order by destination
    on conflict do nothing
    returning destination
  `.execute(db)
  return new Set(rows.map(({ destination }) => destination))
}

export interface Closing {
  readonly destination: string
  /** undefined: what waits is not for the destination after all, or not any more. */
  readonly id?: string
  /** The destination has answered it, but refused it for too long. */
  readonly isGivenUp?: true
  readonly covered: Covered
}

/**
 * Transactions go with what they cover. The lease of a destination for which nothing more waits ends, that of another
 * begins anew. Returns the destinations with whether more waits; those whose lease is lost are absent.
 *
 * One statement: marks are locked by a part of it, last and in their order, and what the others change is decided by what
 * that found, which may be newer than what the statement sees. A room in which something came meanwhile stays marked from
 * there on.
 */
export async function closeTransactions(
  db: Db,
  { holder, lease }: Holder,
  closings: readonly Closing[],
  nowTs: number,
): Promise<Map<string, boolean>> {
  const rooms = closings.flatMap(({ destination, covered }) =>
    covered.rooms.map(([room, upTo]) => ({ destination, room, upTo })),
  )
  const outbox = closings.flatMap(({ covered }) => covered.outbox)
  const { rows } = await sql<{ destination: string; waits: boolean }>`
    with ${clock}, closing as (
      select * from unnest(${closings.map(({ destination }) => destination)}::text[],
        ${closings.map(({ id }) => id ?? null)}::text[], ${closings.map(({ isGivenUp = false }) => isGivenUp)}::bool[])
        as x (destination, id, is_given_up)
    ), held as materialized (
      select destination from destination
      where destination in (select destination from closing) and lease_holder = ${holder} and ${withoutWaiting}
      order by destination for update
    ), gone as (
      delete from destination_transaction t using closing c, held
      where t.destination = held.destination and t.destination = c.destination and t.transaction_id = c.id
    ), sent as materialized (
      select number from federation_outbox
      where number = any(${outbox}::bigint[]) and destination in (select destination from held)
      order by destination, key for update
    ), delivered as (
      delete from federation_outbox o using sent where o.number = sent.number
    ), mark as materialized (
      select m.destination, m.room, m.to_position, up_to
      from destination_room m join unnest(${rooms.map(({ destination }) => destination)}::text[],
        ${rooms.map(({ room }) => room)}::int[], ${rooms.map(({ upTo }) => upTo)}::bigint[])
        as covered (destination, room, up_to) on m.destination = covered.destination and m.room = covered.room
      where m.destination in (select destination from held) and (select count(*) from sent) is not null
      order by m.destination, m.room for update of m
    ), done as (
      delete from destination_room m using mark
      where m.destination = mark.destination and m.room = mark.room and mark.to_position <= up_to
    ), moved as (
      update destination_room m set from_position = up_to + 1 from mark
      where m.destination = mark.destination and m.room = mark.room and mark.to_position > up_to
    ), result as materialized (
      select held.destination, c.id is not null as is_answered, is_given_up, (
        exists (
          select from destination_room m left join mark on mark.destination = m.destination and mark.room = m.room
          where m.destination = held.destination and coalesce(mark.to_position > up_to, true))
        or exists (
          select from federation_outbox o
          where o.destination = held.destination and o.number not in (select number from sent))
      ) as waits
      from held join closing c on c.destination = held.destination
    )
    update destination d set
      failures = case when is_answered then 0 else failures end,
      retry_ts = case when is_answered then 0 else retry_ts end,
      last_error = case when is_answered and not is_given_up then null else last_error end,
      last_success_ts = case when is_answered and not is_given_up then ${nowTs} else last_success_ts end,
      given_up = given_up + is_given_up::int,
      is_split = is_split and waits,
      lease_holder = case when waits then lease_holder end,
      lease_until_ts = case when waits then now + ${lease} else 0 end
    from result, clock where d.destination = result.destination
    returning d.destination, waits
  `.execute(db)
  return new Map(rows.map(({ destination, waits }) => [destination, waits]))
}

export interface Failure {
  readonly destination: string
  readonly retryTs: number
  /** For the operator. */
  readonly error: string
  /** The destination does not take what is in the transaction; and that for so long that it goes one by one. */
  readonly isRefusal: boolean
  readonly isSplit: boolean
}

/** Ends the leases, too. Returns the destinations whose lease was not lost. */
export async function recordFailures(
  db: Db,
  holder: string,
  failures: readonly Failure[],
  nowTs: number,
): Promise<Set<string>> {
  const { rows } = await sql<{ destination: string }>`
    with failure as (
      select * from unnest(${failures.map(({ destination }) => destination)}::text[],
        ${failures.map(({ retryTs }) => retryTs)}::bigint[], ${failures.map(({ error }) => error)}::text[],
        ${failures.map(({ isRefusal }) => isRefusal)}::bool[], ${failures.map(({ isSplit }) => isSplit)}::bool[])
        as x (destination, retry_ts, error, is_refusal, is_split)
    ), held as materialized (
      select destination from destination
      where destination in (select destination from failure) and lease_holder = ${holder} and ${withoutWaiting}
      order by destination for update
    ), refused as (
      update destination_transaction t set refusals = refusals + 1, refused_ts = coalesce(refused_ts, ${nowTs})
      from held, failure f
      where t.destination = held.destination and f.destination = held.destination and is_refusal and not is_split
    ), split as (
      delete from destination_transaction t using held, failure f
      where t.destination = held.destination and f.destination = held.destination and is_split
    )
    update destination d set failures = failures + 1, retry_ts = failure.retry_ts, last_error = failure.error,
      is_split = d.is_split or failure.is_split, lease_holder = null, lease_until_ts = 0
    from held join failure on failure.destination = held.destination where d.destination = held.destination
    returning d.destination
  `.execute(db)
  return new Set(rows.map(({ destination }) => destination))
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
    select waiting.destination as name, coalesce(failures, 0) as failures, last_success_ts is null as "isStranger"
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

/**
 * Of the rooms and servers, destinations for which something waits and whose time has come: first those that have
 * answered, lately first of all.
 */
export async function destinationsOfRooms(db: Db, rooms: readonly RoomNumber[], nowTs: number): Promise<Destination[]> {
  const { rows } = await sql<Destination>`
    select marked.destination as name, coalesce(failures, 0) as failures, last_success_ts is null as "isStranger"
    from (select distinct destination from destination_room where room = any(${[...rooms]}::int[])) marked
    left join destination using (destination)
    where coalesce(retry_ts, 0) <= ${nowTs}
    order by failures, last_success_ts desc nulls last
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
  /** PDUs and EDUs that it refused for too long. */
  readonly given_up: number
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
      coalesce(given_up, 0) as given_up, t.transaction_id as in_flight
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
