import { afterAll, describe, expect, it } from '@jest/globals'
import type { DeviceNumber } from '../../src/protocol/numbers.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { deviceListsSince } from '../../src/store/device-lists.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, statementsOf, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { sync, typing } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

const statements = statementsOf(database)

let people = 0
const someone = (name: string) => `${name}${people++}`

async function pair() {
  const [aliceName, bobName] = [someone('alice'), someone('bob')]
  const [alice, bob] = [user(aliceName), user(bobName)]
  const room = await testRoom(engine, alice)
  await join(engine, room, bob)
  const device = new TestDevice(sync, bobName)
  await device.next()
  return { alice, bob, aliceName, bobName, room, device }
}

const receipt = (room: RoomName, userId: string, event: StoredEvent, type = 'm.read', threadId = '') =>
  engine.writer.write([
    {
      kind: 'receipt',
      room: room.room,
      user: userId,
      type,
      threadId,
      eventId: event.event.eventId,
      event: event.number,
      ts: 1,
      notifyCount: event.notifyCount,
      highlightCount: event.highlightCount,
    },
  ])

const waiting = { timeout: 20_000 }

describe('a poll that waits', () => {
  it('is answered with nothing when its time is up', async () => {
    const { device } = await pair()
    const answer = await device.next({ timeout: 30 })
    expect(answer.rooms).toBeUndefined()
    expect(answer.device_one_time_keys_count).toEqual({ signed_curve25519: 0 })
  })

  it('is answered when the server stops, and when the client has gone', async () => {
    const { device } = await pair()
    const { sync: other } = testSync(database, engine)
    device.sync = other
    const gone = new AbortController()
    const first = device.next({ ...waiting, signal: gone.signal })
    gone.abort()
    await first
    const stopping = new AbortController()
    const second = device.next({ ...waiting, shuttingDown: stopping.signal })
    stopping.abort()
    await second
    other.close()
  })

  it.each<[string, (setting: Awaited<ReturnType<typeof pair>>) => unknown, (answer: never) => unknown, unknown]>([
    [
      'a message',
      ({ room, alice }) => say(engine, room, alice, 'hi'),
      (answer: { rooms: { join: Record<string, never> } }) => bodies(Object.values(answer.rooms.join)[0]),
      ['hi'],
    ],
    [
      'typing',
      ({ room, alice }) => typing.set(room.room, alice, 10_000),
      (answer: { rooms: { join: Record<string, { ephemeral: { events: { type: string }[] } }> } }) =>
        Object.values(answer.rooms.join)[0]!.ephemeral.events.map(({ type }) => type),
      ['m.typing'],
    ],
    [
      'account data',
      ({ bob }) =>
        engine.writer.write([{ kind: 'account-data', room: 0, user: bob, type: 'a.b', content: '{"x":1.0}' }]),
      (answer: { account_data: object }) => answer.account_data,
      { events: [{ type: 'a.b', content: { x: 1 } }] },
    ],
    [
      'account data of a room',
      ({ bob, room }) =>
        engine.writer.write([{ kind: 'account-data', room: room.room, user: bob, type: 'm.tag', content: '{}' }]),
      (answer: { rooms: { join: Record<string, { account_data: object }> } }) =>
        Object.values(answer.rooms.join)[0]!.account_data,
      { events: [{ type: 'm.tag', content: {} }] },
    ],
    [
      'an invite',
      async ({ bob, alice }) => {
        const room = await testRoom(engine, alice)
        await engine.rooms.changeMembership(room, alice, bob, { membership: 'invite' })
      },
      (answer: { rooms: { invite: object } }) => Object.keys(answer.rooms.invite).length,
      1,
    ],
    [
      'a change of the devices of somebody in a room of theirs',
      ({ alice }) => engine.writer.write([{ kind: 'device-list', user: alice }]),
      (answer: { device_lists: { changed: string[] } }) => answer.device_lists.changed.length,
      1,
    ],
    [
      'a message to the device',
      ({ device, bob, alice }) =>
        engine.writer.write([
          {
            kind: 'to-device',
            user: bob,
            device: device.requester.device,
            sender: alice,
            type: 'x',
            content: '{"a":1}',
          },
        ]),
      (answer: { to_device: object }) => (answer.to_device as { events: object[] }).events.length,
      1,
    ],
  ])('is woken by %s', async (_what, happens, seen, expected) => {
    const setting = await pair()
    const answer = setting.device.next(waiting)
    await happens(setting)
    expect(seen((await answer) as never)).toEqual(expected)
    expect((await setting.device.next()).rooms).toBeUndefined()
  })

  it('is not answered with what its filter keeps out', async () => {
    const { device, room, alice } = await pair()
    const answer = device.next({
      ...waiting,
      json: { room: { timeline: { types: ['m.room.message'] }, ephemeral: { types: [] } } },
    })
    typing.set(room.room, alice, 10_000)
    await engine.rooms.send(room, { type: 'x.y', sender: alice, content: {} })
    await say(engine, room, alice, 'hi')
    expect(bodies((await answer).rooms.join[room.roomId])).toEqual(['hi'])
  })

  it('hears nothing of devices of strangers', async () => {
    const { device, room, alice } = await pair()
    await engine.writer.write([{ kind: 'device-list', user: user('stranger') }])
    await say(engine, room, alice, 'hi')
    expect((await device.next()).device_lists).toBeUndefined()
  })

  it('gets what happens within a moment in one answer', async () => {
    const { device, room, alice } = await pair()
    let answers = 0
    const seen: string[] = []
    const reading = (async () => {
      while (seen.length < 100 && answers < 200) {
        answers++
        seen.push(
          ...bodies(
            (await device.next({ ...waiting, json: { room: { timeline: { limit: 100 } } } })).rooms?.join[room.roomId],
          ),
        )
      }
    })()
    for (let i = 0; i < 100; i++) await say(engine, room, alice, String(i))
    await reading
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => String(i)))
    expect(answers).toBeLessThan(40)
  })

  it('reads no table for what happened since the last answer', async () => {
    const { device, room, alice, bob } = await pair()
    const visibility = { type: 'm.room.history_visibility', stateKey: '', sender: alice }
    await engine.rooms.send(room, { ...visibility, content: { history_visibility: 'shared' } })
    await device.next()
    const event = await say(engine, room, alice, 'one')
    await receipt(room, alice, event)
    await receipt(room, bob, event, 'm.read.private')
    await engine.rooms.send(room, { type: 'm.room.topic', stateKey: '', sender: alice, content: { topic: 'Tea' } })
    typing.set(room.room, alice, 10_000)
    await say(engine, room, alice, 'two')
    statements.length = 0
    const shown = (await device.next({ json: { room: { state: { lazy_load_members: true } } } })).rooms.join[
      room.roomId
    ]
    expect(bodies(shown)).toEqual(['one', 'two'])
    expect(shown.ephemeral.events).toHaveLength(2)
    expect(shown.state.events).toHaveLength(1)
    expect(statements).toEqual([])
    await device.next({ timeout: 10 })
    expect(statements).toEqual([])
  })
})

describe('typing', () => {
  it('is shown when it changes, all of it, and ends by itself', async () => {
    const { device, room, alice, bob } = await pair()
    const users = async (
      answer: Promise<{ rooms: { join: Record<string, { ephemeral: { events: { content: object }[] } }> } }>,
    ) => (await answer).rooms.join[room.roomId]!.ephemeral.events[0]!.content
    typing.set(room.room, alice, 10_000)
    typing.set(room.room, bob, 20)
    expect(await users(device.next())).toEqual({ user_ids: [alice, bob] })
    expect(await users(device.next(waiting))).toEqual({ user_ids: [alice] })
    typing.set(room.room, alice, 10_000)
    expect((await device.next()).rooms).toBeUndefined()
    typing.set(room.room, alice, 'stop')
    expect(await users(device.next())).toEqual({ user_ids: [] })
  })

  it('ends for who leaves the room', async () => {
    const { device, room, alice, bob } = await pair()
    const other = user(someone('carol'))
    await join(engine, room, other)
    for (const who of [alice, other, bob]) typing.set(room.room, who, 100_000)
    await device.next()
    await engine.rooms.changeMembership(room, alice, other, { membership: 'ban' })
    const { ephemeral } = (await device.next()).rooms.join[room.roomId]
    expect(ephemeral.events).toMatchObject([{ content: { user_ids: [alice, bob] } }])
  })

  it('is shown whole to a token of another process', async () => {
    const { device, room, alice } = await pair()
    typing.set(room.room, alice, 10_000)
    await device.next()
    device.since = device.since!.replace(/_[0-9a-f]{12}_/, '_000000000000_')
    expect((await device.next()).rooms.join[room.roomId].ephemeral.events[0].content).toEqual({ user_ids: [alice] })
  })
})

describe('receipts', () => {
  it('are shown to all but for private ones, the newest of each kind', async () => {
    const { room, alice, bob, device, aliceName } = await pair()
    const other = new TestDevice(sync, aliceName)
    await other.next()
    const [one, two] = [await say(engine, room, alice, '1'), await say(engine, room, alice, '2')]
    await receipt(room, bob, one)
    await receipt(room, bob, two)
    await receipt(room, bob, two, 'm.read.private')
    await receipt(room, bob, one, 'm.read', 'main')
    const events = async (one: TestDevice) =>
      (await one.next()).rooms.join[room.roomId].ephemeral.events.find(
        ({ type }: { type: string }) => type === 'm.receipt',
      ).content
    const shown = {
      [one.event.eventId]: { 'm.read': { [bob]: { ts: 1, thread_id: 'main' } } },
      [two.event.eventId]: { 'm.read': { [bob]: { ts: 1 } } },
    }
    expect(await events(other)).toEqual(shown)
    const own = { [two.event.eventId]: { 'm.read': { [bob]: { ts: 1 } }, 'm.read.private': { [bob]: { ts: 1 } } } }
    expect(await events(device)).toEqual({ ...shown, ...own })
    expect(await events(new TestDevice(sync, aliceName))).toEqual(shown)
  })
})

describe('messages to a device', () => {
  const send = (bob: string, device: number, from: number, to: number) =>
    engine.writer.write(
      Array.from({ length: to - from }, (_, i) => ({
        kind: 'to-device' as const,
        user: bob,
        device: device as DeviceNumber,
        sender: '@a:b',
        type: 'x',
        content: JSON.stringify({ n: from + i }),
      })),
    )
  const numbers = (answer: { to_device?: { events: { content: { n: number } }[] } }) =>
    (answer.to_device?.events ?? []).map(({ content }) => content.n)
  const rows = async (device: TestDevice) =>
    (await database.db.selectFrom('to_device').selectAll().where('device', '=', device.requester.device).execute())
      .length

  it('come in order, a hundred at a time, until a token shows that they have arrived', async () => {
    const { bob, device } = await pair()
    await send(bob, device.requester.device, 0, 250)
    await send(bob, device.requester.device + 500, 900, 901)
    const first = device.since
    expect(numbers(await device.next())).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(numbers(await device.next({ since: first }))).toHaveLength(100)
    expect(await rows(device)).toBe(250)
    expect(numbers(await device.next(waiting))).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i))
    expect(await rows(device)).toBe(150)
    expect(numbers(await device.next(waiting))).toEqual(Array.from({ length: 50 }, (_, i) => 200 + i))
    expect(numbers(await device.next())).toEqual([])
    expect(await rows(device)).toBe(0)
    await send(bob, device.requester.device, 250, 251)
    expect(numbers(await device.next())).toEqual([250])
  })

  it('wait for a device that begins anew', async () => {
    const { bob, bobName } = await pair()
    const device = new TestDevice(sync, bobName)
    await send(bob, device.requester.device, 0, 120)
    const first = await device.next()
    expect(numbers(first)).toHaveLength(100)
    expect(numbers(await device.next())).toHaveLength(20)
  })
})

describe('device lists', () => {
  it('name who is met anew and who is met no longer', async () => {
    const { room, alice, bob, device } = await pair()
    const carol = user(someone('carol'))
    await join(engine, room, carol)
    expect((await device.next()).device_lists).toEqual({ changed: [carol], left: [] })
    await engine.rooms.changeMembership(room, carol, carol, { membership: 'join', displayname: 'C' })
    expect((await device.next()).device_lists).toBeUndefined()
    await engine.rooms.changeMembership(room, carol, carol, { membership: 'leave' })
    expect((await device.next()).device_lists).toEqual({ changed: [], left: [carol] })
    const second = await testRoom(engine, alice)
    await join(engine, second, bob)
    await device.next()
    await engine.rooms.changeMembership(room, bob, bob, { membership: 'leave' })
    expect((await device.next()).device_lists?.left ?? []).not.toContain(alice)
    await engine.writer.write([{ kind: 'device-list', user: bob }])
    expect((await device.next(waiting)).device_lists.changed).toEqual([bob])
  })

  it.each(['memory', 'the tables'])('name who comes and goes in rooms that a filter hides, from %s', async (source) => {
    const { room, bobName, device } = await pair()
    const [carol, dave] = [user(someone('carol')), user(someone('dave'))]
    await join(engine, room, dave)
    await device.next()
    await join(engine, room, carol)
    await engine.rooms.changeMembership(room, dave, dave, { membership: 'leave' })
    const request = { since: device.since, json: { room: { rooms: [] } } }
    const told = { changed: [carol], left: [dave] }
    if (source === 'memory') {
      expect(await device.next(request)).toMatchObject({ device_lists: told })
      return
    }
    const second = await testRooms(database)
    const { sync: cold } = testSync(database, second)
    const answer = await new TestDevice(cold, bobName).next(request)
    expect([answer.device_lists, answer.rooms]).toEqual([told, undefined])
    cold.close()
    await second.close()
  })

  it.each(['before', 'after'])('name who left a room %s the user did, in the same answer', async (when) => {
    const { room, alice, bob, device } = await pair()
    const carol = user(someone('carol'))
    await join(engine, room, carol)
    await device.next()
    const since = engine.log.published
    const leave = (userId: string) => engine.rooms.changeMembership(room, userId, userId, { membership: 'leave' })
    for (const one of when === 'before' ? [carol, bob] : [bob, carol]) await leave(one)
    const { changed, left } = (await device.next()).device_lists
    expect([changed, left.sort()]).toEqual([[], [alice, carol]])
    expect((await deviceListsSince(database.db, bob, since)).left.sort()).toEqual([alice, carol])
  })

  it('do not say who came after one had left', async () => {
    const { room, alice, bob, device } = await pair()
    await device.next()
    const since = engine.log.published
    await engine.rooms.changeMembership(room, bob, bob, { membership: 'leave' })
    const stranger = user(someone('stranger'))
    await join(engine, room, stranger)
    expect((await device.next()).device_lists).toEqual({ changed: [], left: [alice] })
    expect(await deviceListsSince(database.db, bob, since)).toEqual({ changed: [], left: [alice] })
  })
})
