import { beforeAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { silentLogger } from '../../src/logger.js'
import { insertAccount } from '../../src/store/accounts.js'
import { takeCleanUp } from '../../src/store/clean-up.js'
import { putDevice } from '../../src/store/devices.js'
import { cleanUp } from '../../src/workers/clean-up.js'
import { testDatabase } from '../support/postgres.js'
import { say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const { db } = database
const DAY = 24 * 3_600_000
const start = 1_700_000_000_000
const alice = user('alice')
let device: number

const round = (now: number, batch = 1_000) => cleanUp({ db, logger: silentLogger, now: () => now }, { batch, pause: 0 })
const count = async (table: string) => {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(table)}`.execute(db)
  return rows[0]!.count
}

beforeAll(async () => {
  await db.transaction().execute(async (trx) => {
    await insertAccount(trx, { userId: alice, passwordHash: undefined, isAdmin: false }, 0)
    const tokenHash = Buffer.alloc(32)
    device = await putDevice(trx, { userId: alice, deviceId: 'A', displayName: undefined, tokenHash, ip: '::1' }, 0)
  })
})

describe('the clean-up worker', () => {
  it('deletes transaction ids after a day, claimed keys and ids of messages after a week, sessions that have ended', async () => {
    await sql`insert into client_transaction values (${device}, '\\x01', 'a', 1, 1, ${start})`.execute(db)
    await sql`insert into to_device_transaction values (${device}, '\\x01', ${start})`.execute(db)
    await sql`insert into received_message values ('two.example', 'a', ${start})`.execute(db)
    await sql`insert into one_time_key (device, algorithm, key_id, body, claimed_ts)
      values (${device}, 'x', 'claimed', '""', ${start}), (${device}, 'x', 'unclaimed', '""', null)`.execute(db)
    await sql`insert into interactive_auth_session values ('s', 'op', '{}', null, ${start})`.execute(db)
    await round(start)
    expect(await count('client_transaction')).toBe(1)
    expect(await round(start + 1)).toBe(1)
    expect(await count('interactive_auth_session')).toBe(0)
    expect(await round(start + DAY + 1)).toBe(2)
    expect(await round(start + 7 * DAY + 1)).toBe(2)
    expect(await count('one_time_key')).toBe(1)
  })

  it('goes on until a table has nothing left, a batch at a time', async () => {
    await sql`insert into to_device_transaction
      select ${device}, decode(lpad(to_hex(i), 8, '0'), 'hex'), 0 from generate_series(1, 25) i`.execute(db)
    expect(await round(start, 10)).toBe(25)
  })

  it('deletes messages to devices that are gone', async () => {
    await sql`insert into to_device values (${device}, 1, '@b:x', 't', '{}'), (999999, 2, '@b:x', 't', '{}')`.execute(
      db,
    )
    expect(await round(start)).toBe(1)
    const rows = await db.selectFrom('to_device').select('device').execute()
    expect(rows).toEqual([{ device }])
  })

  it('deletes highlights that a receipt of their user has passed', async () => {
    const engine = await testRooms(database)
    const room = await testRoom(engine, alice)
    const first = await say(engine, room, alice, 'one')
    const second = await say(engine, room, alice, 'two')
    for (const { number, position } of [first, second]) {
      await db
        .insertInto('highlight')
        .values({ room: room.room, user_id: user('bob'), event: number, position: position! })
        .execute()
    }
    await engine.writer.write([
      {
        kind: 'receipt',
        room: room.room,
        user: user('bob'),
        type: 'm.read',
        threadId: '',
        eventId: first.event.eventId,
        event: first.number,
        ts: 0,
        notifyCount: 0,
        highlightCount: 0,
      },
    ])
    expect(await round(start)).toBe(1)
    const left = await db.selectFrom('highlight').select('event').execute()
    expect(left).toEqual([{ event: second.number }])
    await engine.close()
  })

  it('leaves it to the process that is at it', async () => {
    await sql`insert into to_device_transaction values (${device}, '\\x77', 0)`.execute(db)
    await db.transaction().execute(async (trx) => {
      expect(await takeCleanUp(trx)).toBe(true)
      expect(await round(start)).toBe(0)
    })
    expect(await round(start)).toBe(1)
  })
})
