/** Typing, receipts, messages to devices and changes of devices on their way to other servers. */
import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { DeviceLists } from '../../../src/accounts/device-lists.js'
import { CoalescedEdus } from '../../../src/federation/sender/coalesced-edus.js'
import { OutgoingEdus } from '../../../src/federation/sender/outgoing-edus.js'
import { silentLogger } from '../../../src/logger.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { insertAccount } from '../../../src/store/accounts.js'
import { putKeys } from '../../../src/store/device-keys.js'
import { deviceListStreamId } from '../../../src/store/device-list-stream.js'
import { noteDeviceListChange, untoldDeviceLists } from '../../../src/store/device-lists.js'
import { deleteDevices, putDevice } from '../../../src/store/devices.js'
import { putEdus, waitingEdus } from '../../../src/store/federation-outbox.js'
import type { RoomName } from '../../../src/store/room-names.js'
import { Typing } from '../../../src/sync/typing.js'
import { carol } from '../../support/laboratory/index.js'
import { eventually } from '../../support/eventually.js'
import { mia, TestClock } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../../support/rooms.js'
import { sharedRoom, testSender, type TestSender } from './peers.js'

const database = await testDatabase()
const { db } = database
const engine = await testRooms(database)
afterAll(() => engine.close())
const [one, two] = ['one.example', 'two.example']

let sending: TestSender & { edus: OutgoingEdus; deviceLists: DeviceLists; typing: Typing }
let ends: (() => void)[] = []
beforeEach(() => {
  const test = testSender(database, engine)
  const { sender, clock } = test
  const edus = new OutgoingEdus({
    db,
    rooms: engine.rooms,
    serverName: 'hearth.test',
    sender,
    logger: silentLogger,
    now: clock.now,
  })
  const typing = new Typing(clock.now)
  typing.watch((room, userId, isTyping) => edus.typing(room, userId, isTyping))
  ends = [engine.log.subscribe((facts, origin) => edus.follow(facts, origin)), () => typing.close()]
  const deviceLists = new DeviceLists(db, engine.writer, (users) => edus.deviceListsChanged(users))
  sending = { ...test, edus, deviceLists, typing }
})
afterEach(async () => {
  for (const end of ends) end()
  await sending.edus.settled()
  await sending.close()
  for (const table of [
    'destination',
    'destination_room',
    'destination_transaction',
    'federation_outbox',
    'room_server',
    'membership',
    'told_device',
    'device_list_stream',
  ] as const)
    await db.deleteFrom(table).execute()
})

const settled = async () => {
  const { edus, sender } = sending
  for (let round = 0; round < 2; round++) {
    await edus.settled()
    await sender.settled()
    await sender.poll()
    await sender.settled()
  }
}
const edusTo = (server: string, type: string) =>
  sending.peers
    .edus(server)
    .filter(({ edu_type }) => edu_type === type)
    .map(({ content }) => content as JsonObject)

const receipt = (room: RoomName, userId: string, eventId: string, type = 'm.read', threadId = '') =>
  engine.writer.write([
    {
      kind: 'receipt',
      room: room.room,
      user: userId,
      type,
      threadId,
      eventId,
      event: 1 as never,
      ts: 17,
      notifyCount: 0,
      highlightCount: 0,
    },
  ])

describe('typing', () => {
  it('is told to the servers in the room when somebody begins and when they end, but not what others type', async () => {
    const { room, lab } = await sharedRoom(engine, [carol])
    const { typing } = sending
    typing.start(room.room, mia, 10_000)
    await settled()
    typing.start(room.room, carol, 10_000)
    typing.stop(room.room, mia)
    await settled()
    const told = (isTyping: boolean) => ({ room_id: lab.roomId, user_id: mia, typing: isTyping })
    for (const server of [one, two]) expect(edusTo(server, 'm.typing')).toEqual([told(true), told(false)])
  })

  it('is told to nobody of a room of local users', async () => {
    const room = await testRoom(engine, user('alice'))
    sending.typing.start(room.room, user('alice'), 10_000)
    await settled()
    expect(sending.peers.asked).toEqual([])
  })

  it('is told as it is in the end, when the server is slow', async () => {
    const { room } = await sharedRoom(engine, [])
    const letGo = sending.peers.hold(one)
    await say(engine, room, mia, 'hello')
    await eventually('a request is open', () => sending.peers.to(one).length === 1)
    for (let i = 0; i < 5; i++) {
      sending.typing.start(room.room, mia, 10_000)
      sending.typing.stop(room.room, mia)
    }
    await sending.edus.settled()
    letGo()
    await settled()
    expect(edusTo(one, 'm.typing')).toMatchObject([{ typing: false }])
  })

  it('is forgotten when it is old, and not kept for who does not answer', async () => {
    const clock = new TestClock()
    const coalesced = new CoalescedEdus(clock.now)
    coalesced.typing(one, { roomId: '!r', userId: mia, isTyping: true })
    clock.pass(30_001)
    expect(coalesced.take(one, 10)).toEqual([])
    const { room } = await sharedRoom(engine, [])
    sending.peers.kill(one)
    await settled()
    sending.typing.start(room.room, mia, 10_000)
    await sending.edus.settled()
    expect(sending.sender.coalesced.waiting()).toEqual([])
  })
})

describe('a receipt', () => {
  it('is told when it is public and of a local user, the newest of each thread', async () => {
    const { room, lab } = await sharedRoom(engine, [carol])
    await settled()
    await receipt(room, mia, '$a')
    await receipt(room, mia, '$b')
    await receipt(room, mia, '$t', 'm.read', '$root')
    await receipt(room, mia, '$secret', 'm.read.private')
    await receipt(room, carol, '$c')
    await settled()
    const read = (eventId: string, data: object) => ({
      [lab.roomId]: { 'm.read': { [mia]: { event_ids: [eventId], data } } },
    })
    const expected = [read('$b', { ts: 17 }), read('$t', { ts: 17, thread_id: '$root' })]
    expect(edusTo(two, 'm.receipt')).toEqual(expected)
    expect(edusTo(one, 'm.receipt')).toEqual(expected)
  })

  it('of many users and rooms goes in one EDU', async () => {
    const coalesced = new CoalescedEdus(Date.now)
    for (const roomId of ['!a', '!b']) {
      for (const userId of [mia, user('bob')]) {
        coalesced.receipt(one, { roomId, userId, eventId: '$e', threadId: '', ts: 1 })
      }
    }
    const [edu, ...others] = coalesced.take(one, 10)
    expect(others).toEqual([])
    expect(Object.keys((JSON.parse(edu!) as { content: object }).content)).toEqual(['!a', '!b'])
    expect(coalesced.waiting()).toEqual([])
  })
})

describe('a message to a device', () => {
  it('arrives when its destination is back, after this process and once', async () => {
    sending.peers.kill(two)
    const edu = (n: number) => JSON.stringify({ content: { n }, edu_type: 'm.direct_to_device' })
    await putEdus(
      db,
      [1, 2].map((n) => ({ destination: two, edu: edu(n) })),
      0,
    )
    sending.edus.wake([two])
    await settled()
    await sending.close()
    const { sender, peers, clock, close } = testSender(database, engine)
    clock.pass(60_000)
    await sender.poll()
    await sender.settled()
    await sender.poll()
    await sender.settled()
    expect(peers.edus(two).map(({ content }) => content)).toEqual([{ n: 1 }, { n: 2 }])
    expect(await db.selectFrom('federation_outbox').selectAll().execute()).toEqual([])
    await close()
  })

  it('goes with a hundred others at most, and no more than a body may hold', async () => {
    const edu = (n: number) =>
      JSON.stringify({ content: { n, body: 'x'.repeat(n > 100 ? 600_000 : 1) }, edu_type: 'x' })
    const all = Array.from({ length: 104 }, (_, n) => ({ destination: two, edu: edu(n) }))
    await putEdus(db, all, 0)
    await settled()
    expect(sending.peers.to(two).map(({ content }) => (content.edus as object[]).length)).toEqual([100, 2, 1, 1])
    expect(sending.peers.edus(two).map(({ content }) => (content as JsonObject).n)).toEqual(all.map((_, n) => n))
  })

  it('takes the place of one with the same key, also while that is on its way', async () => {
    const put = (edu: string) => putEdus(db, [{ destination: two, key: 'k', edu }], 0)
    await put('{"n":1}')
    await put('{"n":2}')
    expect((await waitingEdus(db, [two], { limit: 10, bytes: 1_000 })).map(({ edu }) => edu)).toEqual(['{"n":2}'])
    const letGo = sending.peers.hold(two)
    sending.edus.wake([two])
    await eventually('a request is open', () => sending.peers.to(two).length === 1)
    await put('{"n":3}')
    letGo()
    await settled()
    expect(sending.peers.edus(two)).toEqual([{ n: 2 }, { n: 3 }])
  })
})

describe('a change of devices', () => {
  const account = (userId: string) =>
    db.transaction().execute((trx) => insertAccount(trx, { userId, passwordHash: undefined, isAdmin: false }, 0))
  /** Keys of a device, as it uploads them. */
  const upload = async (userId: string, deviceId: string, key: string) => {
    await db.transaction().execute(async (trx) => {
      const tokenHash = createHash('sha256').update(`${userId} ${deviceId}`).digest()
      const device = await putDevice(trx, { userId, deviceId, displayName: 'Phone', tokenHash, ip: '' }, 0)
      await putKeys(trx, device, { deviceKeys: `{"key":"${key}"}`, oneTimeKeys: [], fallbackKeys: [] })
      await noteDeviceListChange(trx, userId, 0)
    })
    await sending.deviceLists.changed(userId)
  }
  const remove = async (userId: string, deviceId: string) => {
    await db.transaction().execute(async (trx) => {
      await deleteDevices(trx, userId, { deviceIds: [deviceId] })
      await noteDeviceListChange(trx, userId, 0)
    })
    await sending.deviceLists.changed(userId)
  }

  it('is told to every server that shares a room, each naming the one before it', async () => {
    await account(mia)
    await sharedRoom(engine, [carol])
    await upload(mia, 'A', 'a1')
    await upload(mia, 'B', 'b1')
    await settled()
    await upload(mia, 'A', 'a2')
    await settled()
    await remove(mia, 'B')
    await settled()
    const update = (stream_id: number, device_id: string, more: object) => ({
      user_id: mia,
      device_id,
      stream_id,
      prev_id: stream_id === 1 ? [] : [stream_id - 1],
      ...more,
    })
    const phone = (key: string) => ({ keys: { key }, device_display_name: 'Phone' })
    for (const server of [one, two]) {
      expect(edusTo(server, 'm.device_list_update')).toEqual([
        update(1, 'A', phone('a1')),
        update(2, 'B', phone('b1')),
        update(3, 'A', phone('a2')),
        update(4, 'B', { deleted: true }),
      ])
    }
    expect(await deviceListStreamId(db, mia)).toBe(4)
  })

  it('is not told twice, and is told after a failure', async () => {
    const zoe = user('zoe')
    await account(zoe)
    const { room } = await sharedRoom(engine, [])
    await join(engine, room, zoe)
    await upload(zoe, 'A', 'a1')
    await db.transaction().execute((trx) => noteDeviceListChange(trx, zoe, 0))
    await sending.deviceLists.tellLeftOver(1)
    expect(await untoldDeviceLists(db, {})).toEqual([])
    await settled()
    expect(edusTo(one, 'm.device_list_update')).toMatchObject([{ stream_id: 1 }])
  })

  it('of a user who shares a room with nobody elsewhere is counted and told to nobody', async () => {
    const yan = user('yan')
    await account(yan)
    await testRoom(engine, yan)
    await upload(yan, 'A', 'a1')
    await settled()
    expect(sending.peers.asked).toEqual([])
    expect(await deviceListStreamId(db, yan)).toBe(1)
  })

  it('is announced to servers that come to share their first room with the user, and to no others', async () => {
    const vic = user('vic')
    await account(vic)
    const [first, second] = [await sharedRoom(engine, []), await sharedRoom(engine, [carol])]
    await join(engine, first.room, vic)
    await upload(vic, 'A', 'a1')
    await settled()
    await join(engine, second.room, vic)
    await settled()
    expect(edusTo(one, 'm.device_list_update')).toHaveLength(1)
    expect(edusTo(two, 'm.device_list_update')).toMatchObject([
      { user_id: vic, device_id: 'A', stream_id: 1, prev_id: [] },
    ])
  })
})
