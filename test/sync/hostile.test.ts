import { afterAll, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

const proto = JSON.parse(
  '{"__proto__":{"membership":"join"},"constructor":1,"toString":null,"hasOwnProperty":[]}',
) as JsonObject

const hostile: [string, string | undefined, JsonObject][] = [
  ['m.room.name', '', { name: 3 }],
  ['m.room.name', '', { name: ['a', { b: null }] }],
  ['m.room.name', '', proto],
  ['m.room.name', '', { name: '\u0000' }],
  ['m.room.topic', '', { topic: { toString: 'x' } }],
  ['m.room.avatar', '', { url: {} }],
  ['m.room.canonical_alias', '', { alias: [] }],
  ['m.room.encryption', '', { algorithm: null }],
  ['m.room.history_visibility', '', { history_visibility: ['shared'] }],
  ['m.room.guest_access', '', { guest_access: 7 }],
  ['m.room.member', user('alice'), { membership: 'join', displayname: { a: 1 }, avatar_url: 5 }],
  ['m.room.member', user('alice'), { ...proto, membership: 'join' }],
  ['__proto__', '__proto__', {}],
  ['\u0000', '\u0000', { '\u0000': '\u0000' }],
  ['m.room.message', undefined, { 'm.relates_to': 'x', 'm.mentions': 4, body: null }],
  ['m.room.message', undefined, { 'm.relates_to': { rel_type: 'm.thread', event_id: {} } }],
  ['m.room.message', undefined, { 'm.relates_to': { rel_type: 'm.thread', event_id: '__proto__' } }],
  ['m.room.message', undefined, { body: '"}],"next_batch":"x"' }],
  ['m.room.message', undefined, proto],
  ['\ud83d\ude00'.repeat(60), undefined, { '\u2028': '</script>' }],
]

describe('a sync', () => {
  it('goes on over whatever is in rooms, in memory and from the tables', async () => {
    const room = await testRoom(engine, user('alice'))
    await join(engine, room, user('bob'))
    const device = new TestDevice(sync, 'bob')
    await device.next()
    const { since } = device
    for (const [type, stateKey, content] of hostile) {
      const draft = { type, sender: user('alice'), content, ...(stateKey === undefined ? {} : { stateKey }) }
      await engine.rooms.send(room, draft)
    }
    await say(engine, room, user('alice'), 'the end')
    const json = {
      room: { timeline: { limit: 50, unread_thread_notifications: true }, state: { lazy_load_members: true } },
    }
    const second = await testRooms(database)
    const { sync: cold } = testSync(database, second)
    for (const one of [
      await new TestDevice(sync, 'bob').next({ json, since }),
      await new TestDevice(cold, 'bob').next({ json, since }),
      await new TestDevice(cold, 'bob').next({ json }),
      await new TestDevice(sync, 'bob').next({ stateAfter: ['state_after'] }),
    ]) {
      const shown = one.rooms.join[room.roomId]
      expect(bodies(shown).at(-1)).toBe('the end')
      expect(one.next_batch).toMatch(/^s1_/)
    }
    cold.close()
    await second.close()
  })

  it('goes on over whatever peers call stripped state', async () => {
    const texts = ['{}', 'null', '[1,null,{"type":3}]', '["\\u0000"]', '']
    for (const [i, strippedState] of texts.entries()) {
      const room = await testRoom(engine, user('alice'))
      const invited = { room: room.room, user: user(`guest${i}`), membership: 'invite' } as const
      await engine.writer.writeMembership({ ...invited, sender: user('alice'), strippedState }, undefined)
      const { rooms } = await new TestDevice(sync, `guest${i}`).next()
      expect(rooms.invite[room.roomId].invite_state.events).toEqual(expect.any(Array))
    }
  })

  it('goes on over whatever account data and receipts are', async () => {
    const room = await testRoom(engine, user('carl'))
    const event = await say(engine, room, user('carl'), 'x')
    const device = new TestDevice(sync, 'carl')
    await device.next()
    const of = (type: string, content: string, number: number = room.room) =>
      ({ kind: 'account-data', room: number as never, user: user('carl'), type, content }) as const
    await engine.writer.write([
      of('m.ignored_user_list', '{"ignored_users":[1]}', 0),
      of('m.ignored_user_list', '{"ignored_users":{"__proto__":{}}}', 0),
      of('m.push_rules', '{}', 0),
      of('__proto__', '{"__proto__":1}'),
      of('m.tag', '{"tags":3}'),
      {
        kind: 'receipt',
        room: room.room,
        user: user('carl'),
        type: '__proto__',
        threadId: '__proto__',
        eventId: '__proto__',
        event: event.number,
        ts: 1,
        notifyCount: 0,
        highlightCount: 0,
      },
    ])
    const answer = await device.next()
    const shown = answer.rooms.join[room.roomId]
    expect(shown.account_data.events).toHaveLength(2)
    expect(Object.keys(shown.ephemeral.events[0].content)).toEqual(['__proto__'])
    expect(answer.account_data.events).toHaveLength(2)
  })
})
