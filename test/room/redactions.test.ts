import { afterAll, describe, expect, it } from '@jest/globals'
import type { RoomName } from '../../src/store/room-names.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const [alice, bob] = [user('alice'), user('bob')]

const redact = (by: RoomEngine, room: RoomName, event: StoredEvent) => {
  const redacts = event.event.eventId
  return by.rooms.send(room, { type: 'm.room.redaction', sender: alice, content: { redacts }, redacts })
}

const inRing = ({ log }: RoomEngine, room: RoomName): string[] =>
  log.ofRoom(room.room, 0 as typeof log.published).flatMap((fact) => (fact.kind === 'event' ? [fact.event.text] : []))

describe('a redaction', () => {
  it('takes the content out of the memory of other processes', async () => {
    const room = await testRoom(engine, alice)
    const other = await testRooms(database)
    const secret = await say(engine, room, alice, 'a secret')
    await other.catchUp()
    const there = (await other.stores.names.find(room.roomId))!
    expect((await other.stores.events.byId(there.room, secret.event.eventId))?.text).toContain('a secret')
    const redaction = await redact(engine, room, secret)
    await other.catchUp()
    const held = await other.stores.events.byId(there.room, secret.event.eventId)
    expect(held).toMatchObject({ redactedBy: redaction.number, event: { content: {} } })
    expect(held?.text).not.toContain('a secret')
    expect(inRing(other, there).join()).not.toContain('a secret')
    await other.close()
  })

  it('reaches what the log holds of an event that the cache has dropped', async () => {
    const old = await testRoom(engine, alice)
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 20 }, () => say(engine, old, alice, 'old')))
    const small = await testRooms(database, { cacheMb: 1 })
    const room = await testRoom(small, alice)
    const secret = await say(small, room, alice, 'a secret')
    await small.stores.events.page(old.room, { backwards: true, limit: 400 })
    await redact(small, room, (await small.stores.events.byId(room.room, secret.event.eventId))!)
    expect(inRing(small, room)).toHaveLength(6)
    expect(inRing(small, room).join()).not.toContain('a secret')
    await small.close()
  })

  it('is not undone by who read the event before and comes back with it after', async () => {
    const room = await testRoom(engine, alice)
    const secret = await say(engine, room, alice, 'a secret')
    const { memory, events } = engine.stores
    memory.events.clear()
    const { rows } = await database.pool.query(
      'select event.*, body from event join event_text using (room, event) where event_id = $1',
      [secret.event.eventId],
    )
    await redact(engine, room, secret)
    memory.events.clear()
    const late = (events as unknown as { fromRow(row: object): StoredEvent }).fromRow(rows[0] as object)
    expect(late.text).not.toContain('a secret')
  })

  it.each(['11', '12'])(
    'in a state event of version %s needs the level for it, and reaches what it names',
    async (version) => {
      const levels = { events: { 'm.room.redaction': 0 }, users: version === '12' ? {} : { [alice]: 100 } }
      const room = await testRoom(engine, alice, version, [], { levels })
      await join(engine, room, bob)
      const { event } = await say(engine, room, alice, 'important')
      const redactIn = (sender: string, redacts: string) =>
        engine.rooms.send(room, { type: 'm.room.redaction', stateKey: '', sender, content: { redacts } })
      await expect(redactIn(bob, event.eventId)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
      await expect(redactIn(alice, '$unknown')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
      const redaction = await redactIn(alice, event.eventId)
      expect(await engine.stores.events.byId(room.room, event.eventId)).toMatchObject({
        redactedBy: redaction.number,
        event: { content: {} },
      })
      await redactIn(bob, 'no\u0000event')
    },
  )

  it('takes a name out of the summary of the room', async () => {
    const room = await testRoom(engine, alice)
    const state = (type: string, content: object) =>
      engine.rooms.send(room, { type, stateKey: '', sender: alice, content: content as Record<string, string> })
    const first = await state('m.room.topic', { topic: 'the first' })
    const [topic, name] = [
      await state('m.room.topic', { topic: 'the second' }),
      await state('m.room.name', { name: 'a secret name' }),
    ]
    await redact(engine, room, first)
    expect(await engine.rooms.summary(room)).toMatchObject({ topic: 'the second', name: 'a secret name' })
    await redact(engine, room, name)
    expect(await engine.rooms.summary(room)).toMatchObject({ topic: 'the second', name: null })
    await redact(engine, room, topic)
    const { rows } = await database.pool.query('select name, topic from room_summary where room = $1', [room.room])
    expect(rows).toEqual([{ name: null, topic: null }])
  })
})
