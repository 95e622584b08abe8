import { afterAll, describe, expect, it } from '@jest/globals'
import { Presences } from '../../src/sync/presence.js'
import { TestClock } from '../support/inbound.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { statementsOf, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const statements = statementsOf(database)
const engine = await testRooms(database)
const clock = new TestClock()
const presences = new Presences(clock.now)
const { sync, typing } = testSync(database, engine, { presences })
afterAll(async () => {
  sync.close()
  await engine.close()
})

const MINUTE = 60_000
/** Longer than a user is told of once. */
const pass = async (ms: number) => {
  clock.pass(ms)
  presences.tick()
  await loaded()
}
/** Whose presence changed for the first time is told when their rooms are read. */
const loaded = async () => {
  const { pool } = database
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  await turn()
  while (pool.idleCount < pool.totalCount || pool.waitingCount > 0) await turn()
  for (let i = 0; i < 10; i++) await turn()
}

let people = 0
/** Two people in a room, of whom nobody has synced yet. */
async function pair() {
  const [aliceName, bobName] = [`alice${people}`, `bob${people++}`]
  const [alice, bob] = [user(aliceName), user(bobName)]
  const room = await testRoom(engine, alice)
  await join(engine, room, bob)
  return { alice, bob, room, phone: new TestDevice(sync, aliceName), laptop: new TestDevice(sync, bobName) }
}
type Pair = Awaited<ReturnType<typeof pair>>

interface Shown {
  sender: string
  content: Record<string, unknown>
}
const shown = async (device: TestDevice, request: Parameters<TestDevice['next']>[0] = {}): Promise<Shown[]> =>
  ((await device.next({ setPresence: 'offline', ...request })) as { presence?: { events: Shown[] } }).presence
    ?.events ?? []
const states = async (device: TestDevice) =>
  (await shown(device)).map(({ sender, content }) => [sender, content['presence']])

const poll = { timeout: 20_000, setPresence: 'offline' } as const

describe('who syncs', () => {
  it('is online to who shares a room, in an initial sync and in the next one', async () => {
    const { alice, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next()
    await pass(0)
    const event = { type: 'm.presence', sender: alice, content: expect.objectContaining({ presence: 'online' }) }
    expect(await shown(laptop)).toEqual([event])
    expect(await shown(laptop)).toEqual([])
    expect(await shown(new TestDevice(sync, laptop.requester.userId.slice(1).split(':')[0]!))).toEqual([event])
  })

  it('wakes who shares a room, but neither strangers nor themselves', async () => {
    const { alice, phone, laptop } = await pair()
    const stranger = (await pair()).laptop
    for (const device of [laptop, stranger]) await device.next({ setPresence: 'offline' })
    await phone.next()
    const woken = laptop.next(poll)
    await pass(0)
    expect(((await woken) as { presence: { events: Shown[] } }).presence.events.map(({ sender }) => sender)).toEqual([
      alice,
    ])
    expect(await shown(phone, { timeout: 10 })).toEqual([])
    expect(await shown(stranger, { timeout: 10 })).toEqual([])
  })

  it('is offline when they do not come back', async () => {
    const { alice, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next({ timeout: 30_000 })
    await pass(0)
    await shown(laptop)
    await pass(59_000)
    expect(await states(laptop)).toEqual([])
    await pass(2_000)
    expect(await states(laptop)).toEqual([[alice, 'offline']])
    expect(await states(new TestDevice(sync, laptop.requester.userId.slice(1).split(':')[0]!))).toEqual([])
  })

  it('hides with set_presence=offline, and is idle with unavailable', async () => {
    const { alice, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next({ setPresence: 'offline' })
    await pass(0)
    expect(await states(laptop)).toEqual([])
    await phone.next({ setPresence: 'unavailable' })
    await pass(0)
    expect(await states(laptop)).toEqual([[alice, 'unavailable']])
  })

  it('is idle after five minutes without doing anything, and online again with the next message', async () => {
    const { alice, phone, laptop, room } = await pair()
    await laptop.next({ setPresence: 'offline' })
    for (let i = 0; i < 6; i++) {
      await phone.next({ timeout: 0 })
      await pass(0)
      clock.pass(i === 5 ? 0 : 25_000)
    }
    expect(await states(laptop)).toEqual([[alice, 'online']])
    for (let i = 0; i < 8; i++) {
      await phone.next()
      await pass(25_000)
    }
    const [{ content }] = (await shown(laptop)) as [Shown]
    expect(content).toMatchObject({ presence: 'unavailable', last_active_ago: expect.any(Number) })
    expect(content['last_active_ago']).toBeGreaterThan(5 * MINUTE)
    await say(engine, room, alice, 'I am here')
    await pass(1_000)
    expect(await states(laptop)).toEqual([[alice, 'online']])
  })

  it('stays online as long as their client says that it is they', async () => {
    const { alice, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    for (let i = 0; i < 20; i++) {
      await phone.next({ setPresence: 'online' })
      await pass(29_000)
    }
    expect(await states(laptop)).toEqual([[alice, 'online']])
    expect(presences.of(alice)).toMatchObject({ presence: 'online', currentlyActive: true })
  })

  it('is not currently active after three minutes, which is told once', async () => {
    const { phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    const told: unknown[] = []
    for (let i = 0; i < 9; i++) {
      await phone.next()
      await pass(25_000)
      told.push(...(await shown(laptop)).map(({ content }) => content['currently_active']))
    }
    expect(told).toEqual([true, false])
  })

  it('is as their most present device is', async () => {
    const { alice, phone, laptop } = await pair()
    const tablet = new TestDevice(sync, alice.slice(1).split(':')[0]!)
    await laptop.next({ setPresence: 'offline' })
    await phone.next({ setPresence: 'online' })
    await tablet.next({ setPresence: 'unavailable', timeout: 60_000 })
    await pass(0)
    expect(await states(laptop)).toEqual([[alice, 'online']])
    await pass(31_000)
    expect(await states(laptop)).toEqual([[alice, 'unavailable']])
  })
})

describe('what is told', () => {
  it('is of somebody who comes and goes all the time what they are in the end, now and then', async () => {
    const { alice, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    const { device } = phone.requester
    const told: unknown[] = []
    for (let i = 0; i < 200; i++) {
      presences.set(alice, device, i % 2 === 0 ? 'online' : 'offline', `${i}`)
      await pass(100)
      told.push(...(await shown(laptop)).map(({ content }) => content['status_msg']))
    }
    await pass(5_000)
    told.push(...(await shown(laptop)).map(({ content }) => content['status_msg']))
    expect(told.length).toBeLessThanOrEqual(6)
    expect(told.at(-1)).toBe('199')
  })

  it('is in a room that one of the two comes into who is there', async () => {
    const { alice, room, phone } = await pair()
    const other = await pair()
    await phone.next()
    await pass(0)
    await other.laptop.next()
    await pass(0)
    await join(engine, room, other.bob)
    expect(await states(other.laptop)).toEqual([[alice, 'online']])
    await pass(5_000)
    expect(await states(phone)).toEqual([[other.bob, 'online']])
  })

  it('is nothing of who has left the last room that is shared', async () => {
    const { alice, bob, room, phone, laptop } = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next()
    await pass(0)
    await shown(laptop)
    await engine.rooms.changeMembership(room, bob, bob, { membership: 'leave' })
    presences.set(alice, phone.requester.device, 'online', 'a secret')
    await pass(5_000)
    expect(await states(laptop)).toEqual([])
    expect(await states(new TestDevice(sync, bob.slice(1).split(':')[0]!))).toEqual([])
  })

  it('is what the filter lets through', async () => {
    const { alice, phone, laptop } = await pair()
    await phone.next()
    await pass(0)
    const filtered = async (presence: object) =>
      (await shown(laptop, { since: undefined, json: { presence } } as never)).map(({ sender }) => sender)
    laptop.since = undefined
    expect(await filtered({ types: [] })).toEqual([])
    laptop.since = undefined
    expect(await filtered({ not_types: ['m.*'] })).toEqual([])
    laptop.since = undefined
    expect(await filtered({ not_senders: [alice] })).toEqual([])
    laptop.since = undefined
    expect(await filtered({ senders: [alice], limit: 1 })).toEqual([alice])
  })

  it('is not told of users who are ignored', async () => {
    const { alice, bob, phone, laptop } = await pair()
    const content = JSON.stringify({ ignored_users: { [alice]: {} } })
    await engine.writer.write([{ kind: 'account-data', room: 0, user: bob, type: 'm.ignored_user_list', content }])
    await phone.next()
    await pass(0)
    expect(await states(laptop)).toEqual([])
  })

  it('is everybody to a token of another process, with the next answer, for which nobody is woken', async () => {
    const { alice, room, phone, laptop }: Pair = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next()
    await pass(0)
    await shown(laptop)
    laptop.since = laptop.since!.replace(/_[0-9a-f]{12}_/, '_000000000000_')
    const answer = laptop.next(poll) as Promise<{ presence: { events: Shown[] }; rooms: object }>
    await loaded()
    await say(engine, room, alice, 'hi')
    const { presence, rooms } = await answer
    expect(Object.keys(rooms)).toEqual(['join'])
    expect(presence.events.map(({ sender }) => sender)).toEqual([alice])
    expect(await states(laptop)).toEqual([])
  })

  it('is of who does not come back after a restart that they are away', async () => {
    const { alice, bob, room, laptop } = await pair()
    const carol = user(`carol${people++}`)
    await join(engine, room, carol)
    await laptop.next({ setPresence: 'offline' })
    presences.recall([alice, carol].map((userId) => ({ userId, lastSeenTs: clock.now() - 1_000 })))
    await pass(5_000)
    expect(await states(laptop)).toEqual([])
    await new TestDevice(sync, carol.slice(1).split(':')[0]!).next({ timeout: 90_000 })
    await pass(5_000)
    expect(await states(laptop)).toEqual([[carol, 'online']])
    await pass(MINUTE)
    expect(await states(laptop)).toEqual([[alice, 'offline']])
    expect(presences.of(bob).presence).toBe('offline')
  })

  it('reads no table', async () => {
    const { alice, phone, laptop, room } = await pair()
    await laptop.next({ setPresence: 'offline' })
    await phone.next()
    await pass(0)
    statements.length = 0
    presences.set(alice, phone.requester.device, 'unavailable', 'away')
    await pass(5_000)
    expect(await states(laptop)).toEqual([[alice, 'unavailable']])
    typing.set(room.room, alice, 1_000)
    expect(statements).toEqual([])
  })
})
