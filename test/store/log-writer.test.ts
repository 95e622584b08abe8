import { afterAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import type { KyselyPlugin } from 'kysely'
import type { Position } from '../../src/protocol/numbers.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import { connectionConfig } from '../../src/store/database.js'
import { membershipIn } from '../../src/store/memberships.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const alice = user('alice')
const bob = user('bob')

await database.pool.query(`
  create function refuse_poison() returns trigger language plpgsql as $$
  begin
    if new.body like '%poison%' then raise exception 'no poison here'; end if;
    return new;
  end $$;
  create trigger refuse_poison before insert on event_text for each row execute function refuse_poison()`)

const bodies = async (room: Awaited<ReturnType<typeof testRoom>>) => {
  const events = await engine.stores.events.page(room.room, { backwards: false, limit: 10_000 })
  return events.flatMap(({ event }) => (event.type === 'm.room.message' ? [event.content['body']] : []))
}

const accountData = (type: string) => ({ kind: 'account-data', room: 0, user: alice, type, content: '{}' }) as const

const terminateWriters = () =>
  database.pool.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'hearth log writer' and datname = current_database()`)

describe('the log writer', () => {
  it('lets one bad fact fail alone', async () => {
    const results = await Promise.allSettled(
      ['a', 'b', 'nul\u0000', 'c'].map((type) => engine.writer.write([accountData(type)])),
    )
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  })

  it('writes a membership in place of the one that was seen, and of no other', async () => {
    const room = await testRoom(engine, alice)
    const carol = user('carol')
    const other = await testRooms(database)
    const write = ({ writer }: RoomEngine, membership: 'invite' | 'leave', replaces: Position | undefined) =>
      writer.writeMembership({ room: room.room, user: carol, membership, sender: alice, strippedState: '[]' }, replaces)
    const twice = [write(engine, 'invite', undefined), write(engine, 'leave', undefined)]
    expect(await Promise.all(twice)).toEqual([true, false])
    const { position } = (await membershipIn(database.db, room.room, carol))!
    expect(await write(other, 'leave', undefined)).toBe(false)
    expect(await write(other, 'leave', position)).toBe(true)
    expect(await write(engine, 'invite', position)).toBe(false)
    await engine.catchUp()
    const facts = engine.log.ofUser(carol, 0 as Position)
    expect(facts.map((fact) => fact.kind === 'membership' && fact.membership)).toEqual(['invite', 'leave'])
    await other.close()
  })

  it('lets one bad event fail alone: neither its room nor others lose what came after it', async () => {
    const [one, two] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    const results = await Promise.allSettled([
      say(engine, one, alice, 'first'),
      say(engine, two, alice, 'elsewhere'),
      say(engine, one, alice, 'poison'),
      say(engine, one, alice, 'second'),
      say(engine, two, alice, 'elsewhere again'),
      say(engine, one, alice, 'third'),
    ])
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ])
    expect(await bodies(one)).toEqual(['first', 'second', 'third'])
    expect(await bodies(two)).toEqual(['elsewhere', 'elsewhere again'])
    await say(engine, one, alice, 'fourth')
    expect(await bodies(one)).toEqual(['first', 'second', 'third', 'fourth'])
  })

  it('writes everything once when its connection is cut again and again', async () => {
    const room = await testRoom(engine, alice)
    const sent = Array.from({ length: 300 }, (_, i) => `m${i}`)
    const sends: Promise<unknown>[] = []
    for (const [i, body] of sent.entries()) {
      sends.push(say(engine, room, alice, body))
      if (i % 50 === 49) {
        await terminateWriters()
        await sends[i - 20]
      }
    }
    await Promise.all(sends)
    expect(await bodies(room)).toEqual(sent)
  })

  it('refuses what waits when the database stays away, and goes on when it is back', async () => {
    const room = await testRoom(engine, alice)
    const admin = new pg.Client({ ...connectionConfig(database.address), database: 'postgres' })
    await admin.connect()
    const { database: name } = database.address
    await admin.query(`alter database ${name} allow_connections false`)
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`)
    await expect(say(engine, room, alice, 'into the void')).rejects.toMatchObject({ name: 'DatabaseUnavailable' })
    await admin.query(`alter database ${name} allow_connections true`)
    await admin.end()
    await say(engine, room, alice, 'back')
    expect(await bodies(room)).toEqual(['back'])
  })

  it('goes on within three seconds when another process stops in the middle of a transaction', async () => {
    const room = await testRoom(engine, alice)
    const frozen = new pg.Client(connectionConfig(database.address))
    frozen.on('error', () => undefined)
    await frozen.connect()
    // As the log writer does, and then nothing more.
    await frozen.query(`set idle_in_transaction_session_timeout = '2s'`)
    await frozen.query(`begin; select pg_advisory_xact_lock(4704129)`)
    const start = Date.now()
    await say(engine, room, alice, 'patience')
    expect(Date.now() - start).toBeLessThan(3_000)
    await frozen.end().catch(() => undefined)
  })

  it('publishes nothing before what others committed below it is here', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    const other = await testRooms(database)
    const there = (await other.stores.names.find(room.roomId))!
    const since = engine.log.published
    await say(other, there, bob, 'theirs')
    await say(engine, room, alice, 'ours')
    const seen = engine.log
      .ofRoom(room.room, since)
      .flatMap((fact) => (fact.kind === 'event' ? [fact.event.event.content['body']] : []))
    expect(seen).toEqual(['theirs', 'ours'])
    await other.close()
  })

  it('writes nothing twice, and refuses nothing, when what others wrote cannot be read after the commit', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    let fails = false
    const failing: KyselyPlugin = {
      transformQuery: ({ node }) => {
        if (fails && JSON.stringify(node).includes('device_list_change')) throw new Error('not now')
        return node
      },
      transformResult: ({ result }) => Promise.resolve(result),
    }
    const other = await testRooms({ ...database, db: database.db.withPlugin(failing) })
    const there = (await other.stores.names.find(room.roomId))!
    const since = other.log.published
    await say(engine, room, alice, 'theirs')
    fails = true
    const sent = await Promise.allSettled([
      say(other, there, bob, 'ours'),
      other.writer.write([{ kind: 'device-list', user: bob }]),
    ])
    expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    fails = false
    await say(other, there, bob, 'ours, later')
    const facts = other.log.ofRoom(room.room, since)
    const seen = facts.flatMap((fact) => (fact.kind === 'event' ? [fact.event.event.content['body']] : []))
    expect(seen).toEqual(['theirs', 'ours', 'ours, later'])
    expect(other.log.deviceListChanges(since)).toHaveLength(1)
    expect(await bodies(room)).toEqual(seen)
    await other.close()
  })
})
