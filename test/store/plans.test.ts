import { describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { randomBytes } from 'node:crypto'
import type { EventNumber, Position, RoomNumber } from '../../src/protocol/numbers.js'
import { authChildren } from '../../src/store/auth-chains.js'
import { claimKeys } from '../../src/store/device-keys.js'
import { noteSightings } from '../../src/store/devices.js'
import { waitingEvents, waitingRooms } from '../../src/store/destinations.js'
import { waitingEdus } from '../../src/store/federation-outbox.js'
import { largestServers } from '../../src/store/room-servers.js'
import { firstMembers } from '../../src/store/room-windows.js'
import { endWaiting } from '../../src/store/staged-pdus.js'
import { createStores } from '../../src/store/stores.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase({ max: 1 }) // plans belong to a connection
const stores = createStores(db, { cacheMb: 1, identityKey: randomBytes(32) })
const room = 1 as RoomNumber

/** After so many that were made for what they were given, Postgres decides whether it goes on so. */
const DECIDES_AFTER = 5

async function plansOf(words: string): Promise<{ made: number; kept: number }> {
  const { rows } = await sql<{ made: number; kept: number }>`
    select custom_plans as made, generic_plans as kept from pg_prepared_statements
    where strpos(statement, ${words}) > 0 and strpos(statement, 'pg_prepared_statements') = 0
  `.execute(db)
  expect(rows).toHaveLength(1)
  return rows[0]!
}

const waits = { destination: 'b.example', room, from: 1 as Position, to: 2 as Position }

const statements: [name: string, words: string, ask: () => Promise<unknown>][] = [
  ['what is around events that arrive', 'is_arriving', () => stores.events.aroundArrivals(room, ['$one'], [])],
  ['what stands on an event', 'as parent', () => authChildren(stores, room, [1 as EventNumber], 10)],
  ['who waited for an event', 'waits_for = null', () => endWaiting(db, [{ roomId: '!a', eventIds: ['$one'] }])],
  ['the rooms that have something for a destination', 'd.place, m.from', () => waitingRooms(db, ['b.example'], 10)],
  ['their events for it', 'over (partition by r.destination', () => waitingEvents(db, [waits], 50)],
  ['its EDUs', 'octet_length(edu)', () => waitingEdus(db, ['b.example'], { limit: 100, bytes: 1_000 })],
]

describe('a statement that is asked for each event or message', () => {
  it.each(statements)(
    'is planned once and for all, though it is asked for one at a time: %s',
    async (_, words, ask) => {
      for (let asked = 0; asked < 2 * DECIDES_AFTER; asked++) await ask()
      expect(await plansOf(words)).toEqual({ made: DECIDES_AFTER, kept: DECIDES_AFTER })
    },
  )
})

/** How often a table was read whole, and how often by an index, by our one connection and whoever came before. */
async function scansOf(table: string): Promise<{ whole: number; byIndex: number }> {
  await sql`select pg_stat_force_next_flush()`.execute(db)
  const { rows } = await sql<{ whole: number; byIndex: number }>`
    select seq_scan as whole, idx_scan as "byIndex" from pg_stat_user_tables where relname = ${table}
  `.execute(db)
  return rows[0]!
}

describe('a large room', () => {
  it('costs who joins no look at all keys that states have had', async () => {
    await sql`
      insert into state_key (state_key, type, key)
      select n, 'm.room.member', convert_to('@user' || n || ':b.example', 'UTF8') from generate_series(1, 20000) n
    `.execute(db)
    await sql`analyze state_key`.execute(db)
    const before = await scansOf('state_key')
    const found = await stores.keys.find([
      ['m.room.member', '@user7:b.example'],
      ['m.room.member', '@new:b.example'],
    ])
    expect([...found.values()]).toEqual([7])
    expect(await scansOf('state_key')).toEqual({ whole: before.whole, byIndex: expect.any(Number) as unknown })
  })

  it('costs who joins no look at its members', async () => {
    await sql`
      insert into membership (room, user_id, membership, position, sender)
      select 1, '@user' || n || (case when n <= 500 then ':a.example' else ':b.example' end), 'join', n, '@u:b.example'
      from generate_series(1, 1500) n
    `.execute(db)
    await sql`
      insert into room_server (room, server, from_position, joined)
      values (1, 'a.example', 1, 500), (1, 'b.example', 2, 1000), (2, 'c.example', 3, 9)
    `.execute(db)
    const before = await scansOf('membership')
    expect(await largestServers(db, room, 5)).toEqual(['b.example', 'a.example'])
    expect(await largestServers(db, room, 1)).toEqual(['b.example'])
    expect(await scansOf('membership')).toEqual(before)
  })

  it('costs who asks for the members of a small one no look at its own', async () => {
    await sql`
      insert into membership (room, user_id, membership, position, sender)
      select 3, '@user' || n || ':b.example', 'join', n, '@u:b.example' from generate_series(2001, 22000) n
      union all select 4, '@user' || n || ':c.example', 'join', 30000 + n, '@u:c.example' from generate_series(1, 40) n
    `.execute(db)
    await sql`analyze membership`.execute(db)
    const small = 4 as RoomNumber
    const before = await membershipsRead()
    expect((await firstMembers(db, [small], 2)).get(small)?.present).toEqual(['@user1:c.example', '@user2:c.example'])
    expect((await membershipsRead()) - before).toBeLessThan(100)
  })
})

/** Rows that were read of memberships, through whichever index. */
async function membershipsRead(): Promise<number> {
  await sql`select pg_stat_force_next_flush()`.execute(db)
  const { rows } = await sql<{ read: number }>`
    select sum(idx_tup_read)::int as read from pg_stat_user_indexes where relname = 'membership'
  `.execute(db)
  return rows[0]!.read
}

describe('a server with many devices', () => {
  it('looks none but those up that were seen, and whose keys are claimed', async () => {
    await sql`
      insert into account (user_id, password_hash, created_ts)
      select '@user' || n || ':a.example', '', 0 from generate_series(1, 5000) n
    `.execute(db)
    await sql`
      insert into device (user_id, device_id, token_hash, created_ts, last_seen_ts, last_seen_ip)
      select '@user' || n || ':a.example', 'PHONE', sha256(n::text::bytea), 0, 0, '' from generate_series(1, 5000) n
    `.execute(db)
    await sql`analyze device`.execute(db)
    const { device } = await db.selectFrom('device').select('device').limit(1).executeTakeFirstOrThrow()
    const before = await scansOf('device')
    await noteSightings(db, [{ device, ts: 7, ip: '::1' }])
    const claim = { userId: '@user9:a.example', deviceId: 'PHONE', algorithm: 'signed_curve25519' }
    await db.transaction().execute((trx) => claimKeys(trx, [claim], 8))
    expect(await scansOf('device')).toEqual({ whole: before.whole, byIndex: expect.any(Number) as unknown })
    const seen = db.selectFrom('device').select('last_seen_ts').where('device', '=', device)
    expect(await seen.executeTakeFirst()).toEqual({ last_seen_ts: 7 })
  })
})
