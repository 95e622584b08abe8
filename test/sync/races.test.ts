import { afterAll, describe, expect, it } from '@jest/globals'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database, { pollInterval: 50 })
const other = await testRooms(database, { pollInterval: 50 })
const { sync } = testSync(database, engine)
const { sync: otherSync } = testSync(database, other)
afterAll(async () => {
  for (const one of [sync, otherSync]) one.close()
  for (const one of [engine, other]) await one.close()
})

/** Reads until the last message of each room has come; gives the messages of each in the order in which they came. */
async function follow(device: TestDevice, rooms: readonly string[], count: number, limit = 1_000): Promise<string[][]> {
  const seen = new Map(rooms.map((room) => [room, [] as string[]]))
  const json = { room: { timeline: { limit } } }
  const deadline = performance.now() + 20_000
  while ([...seen.values()].some((of) => of.length < count) && performance.now() < deadline) {
    const answer = await device.next({ timeout: 1_000, json })
    for (const [room, of] of seen) of.push(...bodies(answer.rooms?.join?.[room]))
  }
  return [...seen.values()]
}

const order = async (rooms: readonly { room: number; roomId: string }[]) => {
  const orders: string[][] = []
  for (const { room } of rooms) {
    const events = await engine.stores.events.page(room as never, { backwards: false, limit: 1_000 })
    orders.push(events.flatMap(({ event }) => (event.type === 'm.room.message' ? [String(event.content['body'])] : [])))
  }
  return orders
}

describe('syncing while many write', () => {
  it('misses nothing and shows nothing twice, in the order of each room, on two processes', async () => {
    const rooms = [await testRoom(engine, user('alice')), await testRoom(engine, user('alice'))]
    for (const room of rooms) for (const name of ['bob', 'carol']) await join(engine, room, user(name))
    await other.catchUp()
    const ids = rooms.map(({ roomId }) => roomId)
    const devices = [new TestDevice(sync, 'alice'), new TestDevice(otherSync, 'bob'), new TestDevice(sync, 'bob')]
    for (const device of devices) await device.next()
    const following = devices.map((device) => follow(device, ids, 60))
    await Promise.all(
      rooms.flatMap((room) =>
        ['alice', 'bob', 'carol'].map(async (name, i) => {
          for (let n = 0; n < 20; n++) await say(i === 2 ? other : engine, room, user(name), `${name} ${n}`)
        }),
      ),
    )
    const expected = await order(rooms)
    expect(expected.map((of) => of.length)).toEqual([60, 60])
    for (const seen of await Promise.all(following)) expect(seen).toEqual(expected)
  })

  it('goes on where it was when the views and the caches are as small as can be', async () => {
    const small = await testRooms(database, { cacheMb: 1 })
    small.stores.memory.events.clear()
    const { sync: smallSync } = testSync(database, {
      ...small,
      stores: { ...small.stores, memory: { ...small.stores.memory, viewBytes: 1 } },
    })
    const rooms = [await testRoom(small, user('dora')), await testRoom(small, user('dora'))]
    const names = ['dora', 'emil', 'fred']
    for (const room of rooms) for (const name of names.slice(1)) await join(small, room, user(name))
    const devices = names.map((name) => new TestDevice(smallSync, name))
    for (const device of devices) await device.next()
    const following = devices.map((device) =>
      follow(
        device,
        rooms.map(({ roomId }) => roomId),
        30,
      ),
    )
    for (let n = 0; n < 30; n++) {
      await Promise.all(rooms.map((room) => say(small, room, user(names[n % 3]!), `${n} ${'x'.repeat(5_000)}`)))
      small.stores.memory.events.clear()
      small.stores.memory.segments.clear()
      small.stores.memory.stateKeys.clear()
    }
    const expected = await order(rooms)
    for (const seen of await Promise.all(following)) expect(seen).toEqual(expected)
    smallSync.close()
    await small.close()
  })

  it('sees who joins and leaves while it reads, each once', async () => {
    const room = await testRoom(engine, user('gina'))
    const device = new TestDevice(sync, 'hugo')
    await device.next()
    const seen: string[] = []
    const reading = (async () => {
      for (let last = ''; last !== 'end';) {
        const { rooms } = await device.next({ timeout: 1_000 })
        if (rooms?.join?.[room.roomId] !== undefined) seen.push('join')
        if (rooms?.leave?.[room.roomId] !== undefined) seen.push('leave')
        last = bodies(rooms?.join?.[room.roomId]).at(-1) ?? ''
      }
    })()
    for (let n = 0; n < 5; n++) {
      await join(engine, room, user('hugo'))
      await engine.rooms.changeMembership(room, user('hugo'), user('hugo'), { membership: 'leave' })
      await new Promise((resolve) => setImmediate(resolve))
    }
    await join(engine, room, user('hugo'))
    await say(engine, room, user('gina'), 'end')
    await reading
    expect(seen.at(-1)).toBe('join')
    expect(seen.filter((one, i) => one === 'leave' && seen[i - 1] === 'leave')).toEqual([])
  })
})

describe('tokens', () => {
  it('of another log, or from the future, get an initial sync', async () => {
    const room = await testRoom(engine, user('ida'))
    const device = new TestDevice(sync, 'ida')
    await device.next()
    const { since } = device
    const [, position] = since!.split('_')
    for (const other of [
      since!.replace('_11111111_', '_22222222_'),
      since!.replace(`_${position}_`, '_99999999999_'),
    ]) {
      const { rooms } = await device.next({ since: other })
      expect(rooms.join[room.roomId].timeline.events.at(0).type).toBe('m.room.create')
    }
  })
})
