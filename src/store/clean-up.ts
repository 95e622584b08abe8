/**
 * Deleting rows whose time is over. Each function deletes at most `limit` rows, so that no statement holds locks or a
 * connection for long, and returns how many there were.
 */
import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.js'
import { TOLD_FOR } from './untold-leaves.js'

export interface Deletion {
  /** The table, for the log. */
  readonly table: string
  readonly run: (trx: Transaction<Tables>, limit: number, nowTs: number) => Promise<number>
}

const DAY = 24 * 3_600_000

const deleted = async (statement: ReturnType<typeof sql>, trx: Kysely<Tables>): Promise<number> =>
  Number((await statement.execute(trx)).numAffectedRows ?? 0n)

/** Rows of a table that are older than an age, by a column that is indexed. */
const olderThan = (table: string, column: string, age: number): Deletion => ({
  table,
  run: (trx, limit, nowTs) =>
    deleted(
      sql`delete from ${sql.table(table)} where ctid = any(array(
        select ctid from ${sql.table(table)} where ${sql.ref(column)} < ${nowTs - age} limit ${limit}))`,
      trx,
    ),
})

/** Written by a sender that saw the device just before it was deleted: what a device had was deleted with it. */
const toDeviceOfNobody: Deletion = {
  table: 'to_device',
  run: (trx, limit) =>
    deleted(
      sql`delete from to_device where ctid = any(array(
        select m.ctid from to_device m where not exists (select from device where device.device = m.device) limit ${limit}))`,
      trx,
    ),
}

/** By the receipts that unread counts go by (src/store/unread.ts). */
const readHighlights: Deletion = {
  table: 'highlight',
  run: (trx, limit) =>
    deleted(
      sql`delete from highlight where ctid = any(array(
        select h.ctid from highlight h
        where exists (
          select from receipt r join event e using (room, event)
          where r.room = h.room and r.user_id = h.user_id and r.receipt_type in ('m.read', 'm.read.private')
            and r.thread_id in ('', 'main') and e.anchor >= h.position)
        limit ${limit}))`,
      trx,
    ),
}

/** Of users who are in no room with a user of ours any more; what clients were told of their changes goes with them. */
const unsharedDeviceLists: Deletion = {
  table: 'remote_device_list',
  run: (trx, limit) =>
    deleted(
      sql`
        with ours as materialized (
          select distinct room from membership join account using (user_id) where membership = 'join'
        ), unshared as materialized (
          select user_id from remote_device_list l where not exists (
            select from membership m join ours using (room) where m.user_id = l.user_id and m.membership = 'join')
          limit ${limit}
        ), changes as (delete from device_list_change where user_id in (select user_id from unshared))
        delete from remote_device_list where user_id in (select user_id from unshared)`,
      trx,
    ),
}

/** A server that was there is sent what it was there for, however late; then the interval is of no more use. */
const endedStays: Deletion = {
  table: 'room_server',
  run: (trx, limit) =>
    deleted(
      sql`delete from room_server where ctid = any(array(
        select s.ctid from room_server s
        where to_position is not null and not exists (
          select from destination_room m where m.destination = s.server and m.room = s.room)
        limit ${limit}))`,
      trx,
    ),
}

const unusedDestinations: Deletion = {
  table: 'destination',
  run: (trx, limit, nowTs) =>
    deleted(
      sql`delete from destination where ctid = any(array(
        select d.ctid from destination d
        where used_ts < ${nowTs - 30 * DAY}
          and not exists (select from destination_room m where m.destination = d.destination)
          and not exists (select from destination_transaction t where t.destination = d.destination)
          and not exists (select from federation_outbox o where o.destination = d.destination)
        limit ${limit}))`,
      trx,
    ),
}

export const deletions: readonly Deletion[] = [
  olderThan('client_transaction', 'created_ts', DAY),
  olderThan('to_device_transaction', 'created_ts', DAY),
  olderThan('received_message', 'received_ts', 7 * DAY),
  olderThan('one_time_key', 'claimed_ts', 7 * DAY),
  olderThan('staged_pdu', 'received_ts', 7 * DAY),
  olderThan('received_transaction', 'created_ts', DAY),
  olderThan('waiting_receipt', 'received_ts', 7 * DAY),
  olderThan('untold_leave', 'created_ts', TOLD_FOR),
  olderThan('provisional_event', 'settled_ts', DAY / 24),
  olderThan('interactive_auth_session', 'expires_ts', 0),
  olderThan('server_key_answer', 'used_ts', 365 * DAY),
  olderThan('openid_token', 'expires_ts', 0),
  toDeviceOfNobody,
  unsharedDeviceLists,
  readHighlights,
  olderThan('federation_outbox', 'created_ts', 30 * DAY),
  endedStays,
  unusedDestinations,
]

/** One process cleans up at a time: the lock is held until the transaction ends, and nobody waits for it. */
export async function takeCleanUp(trx: Transaction<Tables>): Promise<boolean> {
  const { rows } = await sql<{ taken: boolean }>`select pg_try_advisory_xact_lock(${cleanUpLock}) as taken`.execute(trx)
  return rows[0]!.taken
}

/** Any number that nobody else takes; the log's is in log-writer.ts. */
const cleanUpLock = 4_704_130
