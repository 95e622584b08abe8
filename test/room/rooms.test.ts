import { afterAll, describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import type { Position } from '../../src/protocol/numbers.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const alice = user('alice')
const bob = user('bob')

const timeline = async (room: Awaited<ReturnType<typeof testRoom>>) => {
  const events = await engine.stores.events.page(room.room, { backwards: false, limit: 10_000 })
  return events.map(({ event }) => event.content['body']).filter((body) => body !== undefined)
}

describe('a room', () => {
  it.each(roomVersionNames)('of version %s takes messages and memberships', async (version) => {
    const room = await testRoom(engine, alice, version)
    await join(engine, room, bob)
    await say(engine, room, bob, 'hello')
    expect(await timeline(room)).toEqual(['hello'])
    expect(await engine.rooms.membership(room, bob)).toBe('join')
    expect((await engine.rooms.summary(room)).joined_members).toBe(2)
  })

  it('keeps the order of sends that do not wait for each other', async () => {
    const room = await testRoom(engine, alice)
    const bodies = Array.from({ length: 50 }, (_, i) => `message ${i}`)
    await Promise.all(bodies.map((body) => say(engine, room, alice, body)))
    expect(await timeline(room)).toEqual(bodies)
    expect((await engine.rooms.head(room)).extremities).toHaveLength(1)
  })

  it('refuses a message of who is not in it, and goes on', async () => {
    const room = await testRoom(engine, alice)
    await expect(say(engine, room, bob, 'let me in')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await say(engine, room, alice, 'quiet here')
    expect(await timeline(room)).toEqual(['quiet here'])
  })

  it('makes one event of one transaction, sent twice at once and again later', async () => {
    const room = await testRoom(engine, alice)
    const send = () =>
      engine.rooms.send(
        room,
        { type: 'm.room.message', sender: alice, content: { body: 'once' } },
        { device: 1 as never, endpoint: 'send m.room.message', transactionId: 'txn1' },
      )
    const [first, second] = await Promise.all([send(), send()])
    expect(second.event.eventId).toBe(first.event.eventId)
    expect((await send()).event.eventId).toBe(first.event.eventId)
    await say(engine, room, alice, 'after')
    expect(await timeline(room)).toEqual(['once', 'after'])
  })

  it('makes one event of state that its sender sets to the same several times at once', async () => {
    const room = await testRoom(engine, alice)
    const set = (topic: string) =>
      engine.rooms.send(room, { type: 'm.room.topic', stateKey: '', sender: alice, content: { topic } })
    const events = await Promise.all(['one', 'one', 'two', 'two', 'one'].map(set))
    const [one, two, oneAgain] = [...new Set(events.map(({ event }) => event.eventId))]
    expect(events.map(({ event }) => event.eventId)).toEqual([one, one, two, two, oneAgain])
    expect((await engine.rooms.currentState(room, 'm.room.topic', ''))!.event.eventId).toBe(oneAgain)
  })

  it('is the same when it is read anew from the database', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    await say(engine, room, alice, 'one')
    const other = await testRooms(database)
    await say(other, (await other.stores.names.find(room.roomId))!, bob, 'two')
    await other.close()
    await engine.catchUp()
    await say(engine, room, alice, 'three')
    expect(await timeline(room)).toEqual(['one', 'two', 'three'])
  })

  it('redacts an event everywhere it is held', async () => {
    const room = await testRoom(engine, alice)
    const since = engine.log.published
    const { event } = await say(engine, room, alice, 'a secret')
    await engine.rooms.send(room, {
      type: 'm.room.redaction',
      sender: alice,
      redacts: event.eventId,
      content: { redacts: event.eventId },
    })
    const facts = engine.log.ofRoom(room.room, since)
    expect(JSON.stringify(facts)).not.toContain('a secret')
    const { rows } = await database.pool.query(`select body from event_text where body like '%a secret%'`)
    expect(rows).toEqual([])
  })

  it('takes content with U+0000, __proto__ and any state key unchanged', async () => {
    const room = await testRoom(engine, alice)
    const content = JSON.parse('{"body":"a\\u0000b","__proto__":{"x":1}}') as { body: string }
    await engine.rooms.send(room, { type: 'org.example\u0000', stateKey: 'key\u0000', sender: alice, content })
    const other = await testRooms(database)
    const stored = await other.rooms.currentState(
      (await other.stores.names.find(room.roomId))!,
      'org.example\u0000',
      'key\u0000',
    )
    expect(JSON.stringify(stored?.event.content)).toBe(
      JSON.stringify({ ...JSON.parse('{"__proto__":{"x":1}}'), body: 'a\u0000b' }),
    )
    await other.close()
  })
})

describe('two processes on one database', () => {
  it('write to the same room without losing, doubling or reordering anything', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    const other = await testRooms(database)
    const there = (await other.stores.names.find(room.roomId))!
    const sends: Promise<unknown>[] = []
    for (let i = 0; i < 60; i++) {
      sends.push(say(engine, room, alice, `a${i}`), say(other, there, bob, `b${i}`))
      if (i % 10 === 0) await Promise.race(sends)
    }
    await Promise.all(sends)
    await Promise.all([engine.catchUp(), other.catchUp()])
    const all = await timeline(room)
    expect(all.filter((body) => String(body).startsWith('a'))).toEqual(Array.from({ length: 60 }, (_, i) => `a${i}`))
    expect(all.filter((body) => String(body).startsWith('b'))).toEqual(Array.from({ length: 60 }, (_, i) => `b${i}`))
    const heads = [await engine.rooms.head(room), await other.rooms.head(there)]
    expect(heads[0]!.head).toEqual(heads[1]!.head)
    expect(heads[0]!.head.forwardExtremities).toHaveLength(1)
    const positions = (log: typeof engine.log) => log.ofRoom(room.room, 0 as Position).map((fact) => fact.position)
    const common = Math.max(engine.log.horizon, other.log.horizon)
    expect(positions(engine.log).filter((p) => p > common)).toEqual(positions(other.log).filter((p) => p > common))
    await other.close()
  })
})
