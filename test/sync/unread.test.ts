import { afterAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { StoredEvent } from '../../src/store/stored-event.js'
import type { RoomName } from '../../src/store/room-names.js'
import { testDatabase } from '../support/postgres.js'
import { join, testRoom, testRooms, user } from '../support/rooms.js'
import { testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

let rooms = 0

async function threeInARoom() {
  const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => `${name}${rooms}`) as [string, string, string]
  rooms++
  const room = await testRoom(engine, user(alice))
  for (const one of [bob, carol]) await join(engine, room, user(one))
  return { alice, bob, carol, room }
}

const say = (room: RoomName, sender: string, content: object = {}) =>
  engine.rooms.send(room, {
    type: 'm.room.message',
    sender: user(sender),
    content: { msgtype: 'm.text', body: 'x', ...content },
  })

const inThread = (root: StoredEvent) => ({ 'm.relates_to': { rel_type: 'm.thread', event_id: root.event.eventId } })
const mentioning = (name: string) => ({ 'm.mentions': { user_ids: [user(name)] } })

const redact = (room: RoomName, sender: string, { event }: StoredEvent) =>
  engine.rooms.send(room, {
    type: 'm.room.redaction',
    sender: user(sender),
    redacts: event.eventId,
    content: { redacts: event.eventId },
  })

const read = (room: RoomName, name: string, event: StoredEvent, threadId = '', type = 'm.read') =>
  engine.writer.write([
    {
      kind: 'receipt',
      room: room.room,
      user: user(name),
      type,
      threadId,
      eventId: event.event.eventId,
      event: event.number,
      ts: 1,
      notifyCount: event.notifyCount,
      highlightCount: event.highlightCount,
    },
  ])

const ignore = (name: string, ignored: readonly string[]) => {
  const content = { ignored_users: Object.fromEntries(ignored.map((one) => [user(one), {}])) }
  const type = 'm.ignored_user_list'
  return engine.writer.write([
    { kind: 'account-data', room: 0, user: user(name), type, content: JSON.stringify(content) },
  ])
}

const byThread = { room: { timeline: { unread_thread_notifications: true } } }

/** As the device that follows sees it, which must be what one that begins sees. */
async function counts(device: TestDevice, name: string, room: RoomName, json?: object) {
  const { sync: cold } = testSync(database, engine)
  const of = async (one: TestDevice) => {
    const { unread_notifications: main, unread_thread_notifications: threads } = (
      await one.next({ fullState: true, json: json ?? {} })
    ).rooms.join[room.roomId]
    return { main: [main.notification_count, main.highlight_count], threads }
  }
  const [following, beginning] = [await of(device), await of(new TestDevice(cold, name))]
  cold.close()
  expect(following).toEqual(beginning)
  return following
}

describe('unread counts', () => {
  it('count what came since one joined, less what one has read or written oneself', async () => {
    const { alice, bob, carol, room } = await threeInARoom()
    await say(room, alice)
    const late = `late${rooms}`
    await join(engine, room, user(late))
    const [device, lateDevice] = [new TestDevice(sync, bob), new TestDevice(sync, late)]
    expect((await counts(device, bob, room)).main).toEqual([1, 0])
    expect((await counts(lateDevice, late, room)).main).toEqual([0, 0])
    const two = await say(room, carol)
    await say(room, carol)
    expect((await counts(device, bob, room)).main).toEqual([3, 0])
    await read(room, bob, two)
    expect((await counts(device, bob, room)).main).toEqual([1, 0])
    await say(room, bob)
    expect((await counts(device, bob, room)).main).toEqual([0, 0])
    await say(room, alice)
    expect((await counts(device, bob, room)).main).toEqual([1, 0])
    expect((await counts(lateDevice, late, room)).main).toEqual([4, 0])
  })

  it('do not go back for a receipt behind another', async () => {
    const { alice, bob, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    const [one, two] = [await say(room, alice), await say(room, alice)]
    await read(room, bob, two, '', 'm.read.private')
    expect((await counts(device, bob, room)).main).toEqual([0, 0])
    await read(room, bob, one)
    expect((await counts(device, bob, room)).main).toEqual([0, 0])
  })

  it('highlight for whom an event mentions, and for nobody else', async () => {
    const { alice, bob, carol, room } = await threeInARoom()
    const [device, other] = [new TestDevice(sync, bob), new TestDevice(sync, carol)]
    await device.next()
    const one = await say(room, alice, mentioning(bob))
    await say(room, alice, { 'm.mentions': { room: true } })
    expect((await counts(device, bob, room)).main).toEqual([2, 2])
    expect((await counts(other, carol, room)).main).toEqual([2, 1])
    await read(room, bob, one)
    expect((await counts(device, bob, room)).main).toEqual([1, 1])
  })

  it('are told apart by thread to who wants that, and read apart', async () => {
    const { alice, bob, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    const root = await say(room, alice)
    await say(room, alice, inThread(root))
    const reply = await say(room, alice, { ...inThread(root), ...mentioning(bob) })
    const thread = root.event.eventId
    expect((await counts(device, bob, room)).main).toEqual([3, 1])
    expect(await counts(device, bob, room, byThread)).toEqual({
      main: [1, 0],
      threads: { [thread]: { notification_count: 2, highlight_count: 1 } },
    })
    await read(room, bob, root, 'main')
    expect(await counts(device, bob, room, byThread)).toMatchObject({ main: [0, 0], threads: { [thread]: {} } })
    await read(room, bob, reply, thread)
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [0, 0], threads: {} })
    await say(room, alice, inThread(root))
    await say(room, bob, inThread(root))
    await say(room, alice)
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [1, 0], threads: {} })
    const last = await say(room, alice, inThread(root))
    await read(room, bob, last)
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [0, 0], threads: {} })
  })

  it('leave out what ignored users send, whomever it mentions, until they are heard again', async () => {
    const { alice, bob, carol, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    await device.next()
    await ignore(bob, [alice])
    const root = await say(room, carol)
    for (const thread of [{}, inThread(root)]) {
      await say(room, alice, { ...thread, ...mentioning(bob) })
    }
    await say(room, alice, { 'm.mentions': { room: true } })
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [1, 0], threads: {} })
    await ignore(bob, [carol])
    expect(await counts(device, bob, room, byThread)).toEqual({
      main: [2, 2],
      threads: { [root.event.eventId]: { notification_count: 1, highlight_count: 1 } },
    })
    await ignore(bob, [alice, carol])
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [0, 0], threads: {} })
  })

  it('count nothing in threads up to what one has said there, whatever one said elsewhere since', async () => {
    const { alice, bob, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    await device.next()
    const roots = [await say(room, alice), await say(room, alice)]
    for (const root of roots) {
      await say(room, alice, inThread(root))
      await say(room, bob, { ...inThread(root), msgtype: 'm.notice' })
    }
    const [, open] = roots
    await say(room, alice, inThread(open!))
    for (let i = 0; i < 6; i++) await say(room, bob)
    expect(await counts(device, bob, room, byThread)).toEqual({
      main: [0, 0],
      threads: { [open!.event.eventId]: { notification_count: 1, highlight_count: 0 } },
    })
  })

  it('count what is left of a redacted event in no thread, and as no highlight', async () => {
    const { alice, bob, carol, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    await device.next()
    const root = await say(room, alice)
    const content = { ...inThread(root), ...mentioning(bob) }
    const [first, second] = [await say(room, alice, content), await say(room, alice, content)]
    await redact(room, alice, first)
    expect(await counts(device, bob, room, byThread)).toEqual({
      main: [2, 0],
      threads: { [root.event.eventId]: { notification_count: 1, highlight_count: 1 } },
    })
    await redact(room, alice, second)
    await read(room, bob, second, 'main')
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [0, 0], threads: {} })
    await ignore(bob, [carol])
    await redact(room, carol, await say(room, carol, content))
    expect(await counts(device, bob, room, byThread)).toEqual({ main: [0, 0], threads: {} })
  })

  it('still count a thread that began before what was read of the main timeline', async () => {
    const { alice, bob, room } = await threeInARoom()
    const device = new TestDevice(sync, bob)
    await device.next()
    const root = await say(room, alice)
    await say(room, alice, inThread(root))
    await read(room, bob, await say(room, alice), 'main')
    const unread = { notification_count: 1, highlight_count: 0 }
    expect(await counts(device, bob, room, byThread)).toEqual({
      main: [0, 0],
      threads: { [root.event.eventId]: unread },
    })
  })

  it('are what a naive count says, whatever happens', async () => {
    const step = fc.oneof(
      fc.record({ say: fc.constantFrom('alice', 'bob', 'carol'), thread: fc.boolean(), mention: fc.boolean() }),
      fc.record({
        read: fc.nat(8),
        as: fc.constantFrom('', 'main', 'thread'),
        type: fc.constantFrom('m.read', 'm.read.private'),
      }),
      fc.record({ ignore: fc.subarray(['alice', 'carol']) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 20 }), async (steps) => {
        const names = await threeInARoom()
        const { room, bob } = names
        const device = new TestDevice(sync, bob)
        await device.next()
        const root = await say(room, names.alice)
        const sent = [{ event: root, thread: false, mention: false }]
        const receipts = new Map<string, number>()
        const marks = { '': -1, main: -1, thread: -1 }
        let ignored: readonly string[] = []
        for (const one of steps) {
          if ('say' in one) {
            const content = { ...(one.thread ? inThread(root) : {}), ...(one.mention ? mentioning(bob) : {}) }
            sent.push({ ...one, event: await say(room, names[one.say], content) })
            if (one.say === 'bob') marks[one.thread ? 'thread' : 'main'] = sent.length - 1
          } else if ('ignore' in one) {
            ignored = one.ignore.map((name) => names[name as 'alice' | 'carol'])
            await ignore(bob, ignored)
          } else {
            const at = Math.max(0, sent.length - 1 - one.read)
            // Receipts of one kind do not go back (src/room/receipts.ts).
            const kind = `${one.as} ${one.type}`
            if (at <= (receipts.get(kind) ?? -1)) continue
            receipts.set(kind, at)
            await read(room, bob, sent[at]!.event, one.as === 'thread' ? root.event.eventId : one.as, one.type)
            marks[one.as] = Math.max(marks[one.as], at)
          }
        }
        const isUnread = (i: number) =>
          ![bob, ...ignored].map(user).includes(sent[i]!.event.event.sender) &&
          i > marks[''] &&
          i > marks[sent[i]!.thread ? 'thread' : 'main']
        const unread = sent.filter((_, i) => isUnread(i))
        const count = (events: typeof sent) => [events.length, events.filter(({ mention }) => mention).length]
        const shown = await counts(device, bob, room, byThread)
        expect(shown.main).toEqual(count(unread.filter(({ thread }) => !thread)))
        const [notification_count, highlight_count] = count(unread.filter(({ thread }) => thread))
        expect(shown.threads).toEqual(
          notification_count === 0 ? {} : { [root.event.eventId]: { notification_count, highlight_count } },
        )
      }),
      { seed: 20261124, numRuns: 12 },
    )
  })
})
