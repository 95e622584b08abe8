/** Facts as the tables hold them: what other processes wrote, and what a process reads before it has seen anything. */
import { sql, type Kysely } from 'kysely'
import type { EventNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import type { Events } from './events.js'
import type { Fact, Membership, ReceiptFact } from './facts.js'
import { logLock, type LogTables } from './log-tables.js'
import type { DeviceTables } from './devices.js'

/**
 * The newest position whose facts are committed. Everything below it is committed too, or was rolled back, since
 * positions are handed out and committed in one order. One statement, so that it is one moment.
 */
export async function newestPosition(db: Kysely<LogTables>): Promise<Position> {
  const { rows } = await sql<{ newest: Position | null }>`
    select greatest(
      (select max(position) from event where position is not null),
      (select max(position) from state_change), (select max(position) from membership),
      (select max(position) from receipt), (select max(position) from account_data), (select max(position) from highlight),
      (select max(position) from to_device), (select max(position) from device_list_change)
    ) as newest
  `.execute(db)
  return rows[0]?.newest ?? (0 as Position)
}

/**
 * The newest position that was handed out, once nobody who has one is still to commit. Unlike the newest that the tables
 * hold it does not go back when rows are deleted: tokens may hold it. Waits for whoever writes at the moment.
 */
export function settledPosition(db: Kysely<LogTables>): Promise<Position> {
  return db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${logLock})`.execute(trx)
    const { rows } = await sql<{ newest: Position }>`
      select case when is_called then last_value else 0 end as newest from log_position
    `.execute(trx)
    return rows[0]!.newest
  })
}

/** Facts with after < position <= upTo, in the order of their positions. Facts that were replaced meanwhile are absent. */
export async function factsBetween(
  db: Kysely<LogTables & DeviceTables>,
  events: Events,
  after: Position,
  upTo: Position,
): Promise<Fact[]> {
  const range = sql<boolean>`position > ${after} and position <= ${upTo}`
  const [timeline, states, memberships, highlights, receipts, accountData, toDevice, deviceLists] = await Promise.all([
    events.between(after, upTo),
    db.selectFrom('state_change').selectAll().where(range).execute(),
    db.selectFrom('membership').selectAll().where(range).execute(),
    db.selectFrom('highlight').selectAll().where(range).execute(),
    db.selectFrom('receipt').selectAll().where(range).execute(),
    db.selectFrom('account_data').selectAll().where(range).execute(),
    db
      .selectFrom('to_device')
      .innerJoin('device', 'device.device', 'to_device.device')
      .selectAll('to_device')
      .select('device.user_id')
      .where(range)
      .execute(),
    db.selectFrom('device_list_change').selectAll().where(range).execute(),
  ])
  await Promise.all(states.flatMap(({ room, completes }) => (completes ? [events.readJudgedAnew(room)] : [])))
  await events.readRedacted(
    timeline.filter(({ event, fate }) => event.type === 'm.room.redaction' && fate === 'accepted'),
  )
  const facts: Fact[] = [
    ...timeline.map((event) => ({ kind: 'event', position: event.position!, room: event.room, event }) as const),
    ...states.map((row) => stateChange(row)),
    ...memberships.map((row) => membershipFact(row)),
    ...highlights.map(
      ({ room, user_id, event, position }) => ({ kind: 'highlight', position, room, user: user_id, event }) as const,
    ),
    ...receipts.map((row) => receiptFact(row)),
    ...accountData.map(
      ({ room, user_id, type, content, position }) =>
        ({ kind: 'account-data', position, room, user: user_id, type, content }) as const,
    ),
    ...toDevice.map(
      ({ device, user_id, position, sender, type, content }) =>
        ({ kind: 'to-device', position, user: user_id, device, sender, type, content }) as const,
    ),
    ...deviceLists.map(({ user_id, position }) => ({ kind: 'device-list', position, user: user_id }) as const),
  ]
  return facts.sort((a, b) => a.position - b.position)
}

const stateChange = (row: {
  room: RoomNumber
  position: Position
  state_before: StateReference
  state_after: StateReference
  cause: EventNumber
  completes: boolean
}): Fact => ({
  kind: 'state-change',
  position: row.position,
  room: row.room,
  before: row.state_before,
  after: row.state_after,
  cause: row.cause,
  ...(row.completes && { completes: true }),
})

const membershipFact = (row: LogTables['membership']): Fact => ({
  kind: 'membership',
  position: row.position,
  room: row.room,
  user: row.user_id,
  membership: row.membership as Membership,
  event: row.event ?? undefined,
  sender: row.sender,
  strippedState: row.stripped_state ?? undefined,
})

export const receiptFact = (row: LogTables['receipt']): ReceiptFact => ({
  kind: 'receipt',
  position: row.position,
  room: row.room,
  user: row.user_id,
  type: row.receipt_type,
  threadId: row.thread_id,
  eventId: row.event_id,
  event: row.event,
  ts: row.ts,
  notifyCount: row.notify_count,
  highlightCount: row.highlight_count,
})
