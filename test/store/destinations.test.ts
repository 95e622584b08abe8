/** What finding the next transaction costs, by the plans that Postgres makes. */
import { beforeAll, describe, expect, it } from '@jest/globals'
import type { KyselyPlugin } from 'kysely'
import type { Position, RoomNumber } from '../../src/protocol/numbers.js'
import { dueDestinations, newestOfLong, waitingEvents, waitingRooms } from '../../src/store/destinations.js'
import { testDatabase } from '../support/postgres.js'

const database = await testDatabase()
const { db, pool } = database
const fresh = await testDatabase()
const EVENTS = 1_000_000
/** Dead servers, each with some rooms that wait for it. */
const DEAD = 2_000

beforeAll(async () => {
  // Indexes that the planner chooses among are built in the end, the others not at all.
  await pool.query(`
    alter table event set unlogged;
    drop index event_order, event_auth_edges, event_position, event_outgoing;
    alter table event drop constraint event_room_event_id_key, drop constraint event_pkey`)
  // A million events of a room, of which every second is ours and outgoing; none of them is for our destination.
  await pool.query(`
    insert into event (room, event, event_id, type, sender, origin_server_ts, depth, position, anchor, minor, prev_events,
      auth_events, auth_depth, state_before, is_outgoing)
    select case when n % 100000 = 0 then 2 else 1 end, n, '$' || n, 'm.room.message',
      case when n % 2 = 0 then '@mia:hearth.test' else '@carol:two.example' end, 0, n, n, n, 0, '{}', '{}', 1, 256,
      case when n % 2 = 0 then true end
    from generate_series(1, ${EVENTS}) n`)
  await pool.query(`
    insert into room_server (room, server, from_position, joined)
    values (1, 'two.example', 0, 1), (2, 'busy.example', 0, 1)`)
  await pool.query(`
    insert into destination_room (destination, room, from_position, to_position)
    select 'dead' || n || '.example', room, 1, ${EVENTS} from generate_series(1, ${DEAD}) n, generate_series(1, 10) room
    union all select 'busy.example', 2, 100000, ${EVENTS}
    union all select 'two.example', 1, 1, ${EVENTS}`)
  await pool.query(`
    insert into destination (destination, failures, retry_ts, used_ts)
    select 'dead' || n || '.example', 20, 9000000000000, 0 from generate_series(1, ${DEAD}) n`)
  await pool.query(`
    alter table event add primary key (room, event);
    create index event_position on event (position) where position is not null;
    create index event_outgoing on event ((room::bigint), position) where is_outgoing`)
  await pool.query('vacuum analyze event, room_server, destination_room, destination')
}, 120_000)

/** Statements are explained, and answer nothing. */
const explaining = (plans: string[]): KyselyPlugin => ({
  transformQuery: ({ node }) =>
    node.kind === 'RawNode'
      ? {
          ...node,
          sqlFragments: [
            `explain (analyze, buffers, timing off) ${node.sqlFragments[0]}`,
            ...node.sqlFragments.slice(1),
          ],
        }
      : node,
  transformResult: async ({ result }) => {
    plans.push(result.rows.map((row) => String(row['QUERY PLAN'])).join('\n'))
    return { ...result, rows: [] }
  },
})

/** The pages of 8 KiB that a statement looked at. */
const pagesOf = (plan: string): number => Number(/Buffers: shared hit=(\d+)/.exec(plan)?.[1])

/** What else than the index of outgoing events a plan reads the events by. */
const otherReads = (plan: string): string[] =>
  [...plan.matchAll(/using (\w+) on event\b|Seq Scan on event\b|Bitmap Index Scan on (event_\w+)/g)]
    .map(([scan, index, bitmap]) => index ?? bitmap ?? scan)
    .filter((read) => read !== 'event_outgoing')

const next = async (destination: string) => {
  const rooms = await waitingRooms(db, [destination], 50)
  const newest = await newestOfLong(db, rooms, 200)
  return waitingEvents(
    db,
    rooms.map((room) => newest.find((one) => one.room === room.room) ?? room),
    50,
  )
}

describe('with a million events that are not for a destination', () => {
  it('its next transaction is found', async () => {
    const positions = (await next('busy.example')).map(({ position }) => position)
    expect(positions).toEqual(Array.from({ length: 10 }, (_, i) => (i + 1) * 100_000))
  })

  it('it is found, too, in a room that is half a million of them behind: the newest goes', async () => {
    expect((await next('two.example')).map(({ position }) => position)).toEqual([EVENTS - 2])
  })

  it('only the index of outgoing events is read, and of it no more than what is sent', async () => {
    const plans: string[] = []
    const explained = db.withPlugin(explaining(plans))
    for (const [destination, room] of [
      ['busy.example', 2],
      ['two.example', 1],
    ] as const) {
      const whole = { destination, room: room as RoomNumber, from: 1 as Position, to: EVENTS as Position }
      await waitingRooms(explained, [destination], 50)
      await waitingEvents(explained, [whole], 50)
      await newestOfLong(explained, [whole], 200)
    }
    expect(plans).toHaveLength(6)
    for (const plan of plans) {
      expect(otherReads(plan)).toEqual([])
      expect(pagesOf(plan)).toBeLessThan(1_500)
    }
  })

  it('dead destinations are passed over by a look at each, not at what waits for them', async () => {
    const due = await dueDestinations(db, 1_000, 100)
    expect(due.map(({ name }) => name).sort()).toEqual(['busy.example', 'two.example'])
    const plans: string[] = []
    await dueDestinations(db.withPlugin(explaining(plans)), 1_000, 100)
    expect(pagesOf(plans[0]!)).toBeLessThan(6 * DEAD)
  })
})

it('only the index of outgoing events is read in a database that was never analysed', async () => {
  await fresh.pool.query(`
    insert into event (room, event, event_id, type, sender, origin_server_ts, depth, position, anchor, minor, prev_events,
      auth_events, auth_depth, is_outgoing)
    select 1, n, '$' || n, 'm.room.member', '@u' || n || ':two.example', 0, n, nullif(n, n / 100 * 100), n, 0, '{}', '{}', 1,
      case when n % 1000 = 1 then true end
    from generate_series(1, 5000) n`)
  const plans: string[] = []
  const explained = fresh.db.withPlugin(explaining(plans))
  const whole = { destination: 'three.example', room: 1 as RoomNumber, from: 1 as Position, to: 5_000 as Position }
  await waitingEvents(explained, [whole], 50)
  await newestOfLong(explained, [whole], 200)
  expect(plans).toHaveLength(2)
  for (const plan of plans) expect(otherReads(plan)).toEqual([])
})

it('an event that ends the membership of a user of a server is for that server, wherever it is', async () => {
  const room = 3 as RoomNumber
  await pool.query(`
    insert into state_key (state_key, type, key) values
      (1001, 'm.room.member', '@a:gone.example'), (1002, 'm.room.member', '@a:b:gone.example')`)
  await pool.query(`
    insert into event (room, event, event_id, type, state_key, sender, origin_server_ts, depth, position, anchor, minor,
      prev_events, auth_events, auth_depth, state_before, is_outgoing)
    select 3, 2000000 + n, '$m' || n, 'm.room.member', 1000 + n, '@mia:hearth.test', 0, 1, 2000000 + n, n, 0, '{}', '{}', 1, 256, true
    from generate_series(1, 2) n`)
  const from = { destination: 'gone.example', room, from: 2_000_000 as Position, to: 2_000_010 as Position }
  expect(await waitingEvents(db, [from], 10)).toMatchObject([{ position: 2_000_001 }])
})
