import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { parseRoomEventFilter } from '../../src/protocol/filter.js'
import type { Position } from '../../src/protocol/numbers.js'
import type { Backfill } from '../../src/room/backfill.js'
import { userReader } from '../../src/room/gate.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { afterPosition, type RoomPlace } from '../../src/room/pagination-token.js'
import { readPage } from '../../src/room/timeline-page.js'
import type { RoomOrder } from '../../src/store/events.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { testDatabase } from '../support/postgres.js'
import { say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { stores, gate } = engine
afterAll(() => engine.close())
const alice = user('alice')

/** A room with the messages 1 to 9. */
async function conversation() {
  const room = (await testRoom(engine, alice)) as KnownRoom
  const said: StoredEvent[] = []
  for (let i = 1; i <= 9; i++) said.push(await say(engine, room, alice, String(i)))
  return { room, said }
}

const move = async (event: StoredEvent, to: RoomOrder | undefined) => {
  event.position = undefined
  event.anchor = to?.anchor as Position | undefined
  event.minor = to?.minor ?? 0
  await sql`
    update event set position = null, anchor = ${to?.anchor ?? null}, minor = ${to?.minor ?? null}
    where room = ${event.room} and event = ${event.number}
  `.execute(database.db)
}

/** These are what others hold; the event that follows them names the last of them. */
async function lose(lost: readonly StoredEvent[], next: StoredEvent) {
  for (const event of lost) await move(event, undefined)
  const last = lost.at(-1)!.event.eventId
  await database.db
    .insertInto('backward_extremity')
    .values({ room: next.room, event_id: last, event: next.number })
    .execute()
}

/** Brings what was lost, so many a time, newest first. */
class ScriptedBackfill implements Pick<Backfill, 'before'> {
  readonly asked: { order: RoomOrder; limit: number }[] = []

  constructor(private readonly lost: StoredEvent[]) {}

  async before(room: KnownRoom, order: RoomOrder, limit: number): Promise<void> {
    this.asked.push({ order, limit })
    const found = this.lost.splice(-limit, limit).reverse()
    if (found.length === 0) return
    for (const [i, event] of found.entries()) await move(event, { anchor: order.anchor, minor: order.minor - 1 - i })
    await database.db.deleteFrom('backward_extremity').where('room', '=', room.room).execute()
    const oldest = found.at(-1)!
    const before = this.lost.at(-1)?.event.eventId
    if (before !== undefined) {
      const row = { room: room.room, event_id: before, event: oldest.number }
      await database.db.insertInto('backward_extremity').values(row).execute()
    }
  }
}

async function page(
  room: KnownRoom,
  backfill: Pick<Backfill, 'before'> | undefined,
  limit: number,
  from?: RoomPlace,
  backwards = true,
) {
  const filter = parseRoomEventFilter({ types: ['m.room.message'] })
  const request = { backwards, from: from ?? afterPosition(engine.log.published), limit, filter }
  const { events, end } = await readPage({ stores, gate, backfill }, room, userReader({ userId: alice }), request)
  return { bodies: events.map(({ event }) => event.content['body']).join(' '), end }
}

describe('a page that is read backwards', () => {
  it('goes over a gap when nobody can be asked', async () => {
    const { room, said } = await conversation()
    await lose(said.slice(3, 6), said[6]!)
    expect((await page(room, undefined, 20)).bodies).toBe('9 8 7 3 2 1')
  })

  it('has what other servers hold where it belongs', async () => {
    const { room, said } = await conversation()
    await lose(said.slice(3, 6), said[6]!)
    const backfill = new ScriptedBackfill(said.slice(3, 6))
    const { bodies, end } = await page(room, backfill, 20)
    expect(bodies).toBe('9 8 7 6 5 4 3 2 1')
    expect(end).toBeUndefined()
    expect(backfill.asked).toEqual([{ order: { anchor: said[6]!.anchor, minor: 0 }, limit: 20 }])
    expect((await page(room, backfill, 20, afterPosition(0), false)).bodies).toBe('1 2 3 4 5 6 7 8 9')
  })

  it('that ends at a gap asks nobody, and the next one begins with asking', async () => {
    const { room, said } = await conversation()
    await lose(said.slice(3, 6), said[6]!)
    const backfill = new ScriptedBackfill(said.slice(3, 6))
    const first = await page(room, backfill, 3)
    expect(first.bodies).toBe('9 8 7')
    expect(backfill.asked).toEqual([])
    const second = await page(room, backfill, 3, first.end)
    expect(second.bodies).toBe('6 5 4')
    expect((await page(room, backfill, 3, second.end)).bodies).toBe('3 2 1')
    expect(backfill.asked).toHaveLength(1)
  })

  it('asks again before the oldest that came', async () => {
    const { room, said } = await conversation()
    const lost = said.slice(0, 6)
    await lose(lost, said[6]!)
    const backfill = new ScriptedBackfill([...lost])
    const { bodies, end } = await page(room, backfill, 4)
    expect(bodies).toBe('9 8 7 6')
    const next = await page(room, backfill, 4, end)
    expect(next.bodies).toBe('5 4 3 2')
    expect(backfill.asked).toHaveLength(2)
  })

  it('is there when nobody answers, and says that more may come where all that is held is shown', async () => {
    const { room, said } = await conversation()
    // The whole beginning of the room is with others.
    const create = await stores.events.page(room.room, { backwards: false, limit: 20 })
    await lose(create.slice(0, create.length - 3), said[6]!)
    const backfill = new ScriptedBackfill([])
    const { bodies, end } = await page(room, backfill, 20)
    expect(bodies).toBe('9 8 7')
    expect(end).toBeDefined()
    const next = await page(room, backfill, 20, end)
    expect(next).toEqual({ bodies: '', end: undefined })
    expect(backfill.asked).toHaveLength(2)
  })

  it('asks a bounded number of times, whatever comes', async () => {
    const { room, said } = await conversation()
    const lost = said.slice(0, 6)
    await lose(lost, said[6]!)
    const one = new ScriptedBackfill([...lost])
    const slow = { asked: 0, before: (name: KnownRoom, order: RoomOrder) => (slow.asked++, one.before(name, order, 1)) }
    const { bodies } = await page(room, slow, 20)
    expect(bodies.startsWith('9 8 7 6 5')).toBe(true)
    expect(slow.asked).toBe(3)
  })
})
