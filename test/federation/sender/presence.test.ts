/** Presence on its way to other servers. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { CoalescedEdus } from '../../../src/federation/sender/coalesced-edus.js'
import { OutgoingEdus } from '../../../src/federation/sender/outgoing-edus.js'
import { silentLogger } from '../../../src/logger.js'
import type { DeviceNumber } from '../../../src/protocol/numbers.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { Presences, type Presence } from '../../../src/sync/presence.js'
import { carol } from '../../support/laboratory/index.js'
import { mia, TestClock } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { testRoom, testRooms, user } from '../../support/rooms.js'
import { sharedRoom, testSender, type TestSender } from './peers.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const [one, two] = ['one.example', 'two.example']
const phone = 1 as DeviceNumber
const MINUTE = 60_000

let sending: TestSender & { edus: OutgoingEdus; presences: Presences }
beforeEach(() => {
  const test = testSender(database, engine)
  const { sender, clock } = test
  const edus = new OutgoingEdus({
    db: database.db,
    rooms: engine.rooms,
    serverName: 'hearth.test',
    sender,
    logger: silentLogger,
    now: clock.now,
  })
  const presences = new Presences(clock.now)
  presences.watch((userIds) => edus.presence(presences, userIds))
  sending = { ...test, edus, presences }
})
afterEach(async () => {
  sending.presences.close()
  await sending.edus.settled()
  await sending.close()
})

const pass = async (ms: number) => {
  const { clock, presences, edus, sender } = sending
  clock.pass(ms)
  presences.tick()
  await edus.settled()
  await sender.poll()
  await sender.settled()
}
const told = (server: string) =>
  sending.peers
    .edus(server)
    .filter(({ edu_type }) => edu_type === 'm.presence')
    .map(({ content }) => (content as JsonObject)['push'])

describe('presence', () => {
  it('of our users is told to the servers that share a room with them', async () => {
    await sharedRoom(engine, [])
    const { presences } = sending
    presences.syncing(mia, phone, 'online', 0)
    presences.set(mia, phone, 'online', 'Making cupcakes')
    await pass(0)
    const update = { user_id: mia, presence: 'online', status_msg: 'Making cupcakes', currently_active: true }
    expect(told(one)).toEqual([[{ ...update, last_active_ago: 0 }]])
    expect(told(two)).toEqual([])
    await pass(2 * MINUTE)
    expect(told(one)[1]).toMatchObject([{ user_id: mia, presence: 'offline', last_active_ago: 2 * MINUTE }])
  })

  it('of users of other servers, and of those who share a room with none, is told to nobody', async () => {
    await sharedRoom(engine, [carol])
    await testRoom(engine, user('alice'))
    const { presences } = sending
    presences.syncing(user('alice'), phone, 'online', 0)
    presences.hear(carol, { presence: 'online', statusMsg: 'x', lastActiveTs: 1, currentlyActive: true })
    await pass(0)
    expect([...told(one), ...told(two)]).toEqual([])
  })

  it('of who comes and goes all the time is told twice a minute, as it is then', async () => {
    await sharedRoom(engine, [])
    const { presences } = sending
    for (let second = 0; second < 120; second++) {
      presences.set(mia, phone, second % 2 === 0 ? 'online' : 'offline', `${second}`)
      await pass(1_000)
    }
    expect(told(one).length).toBeLessThanOrEqual(5)
    presences.set(mia, phone, 'unavailable', 'the end')
    await pass(5_000)
    await pass(30_000)
    expect(told(one).at(-1)).toMatchObject([{ status_msg: 'the end' }])
  })

  it('of who is still there is said again before others take them for away', async () => {
    await sharedRoom(engine, [])
    for (let minute = 0; minute < 45; minute++) {
      sending.presences.syncing(mia, phone, 'online', 90_000)
      await pass(MINUTE)
    }
    expect(told(one).map((push) => (push as JsonObject[])[0]!['presence'])).toEqual(['online', 'online', 'online'])
  })

  it('is not kept for who does not answer', async () => {
    await sharedRoom(engine, [])
    sending.peers.kill(one)
    sending.presences.syncing(mia, phone, 'online', 0)
    await pass(0)
    sending.presences.set(mia, phone, 'unavailable', undefined)
    sending.clock.pass(1_000)
    sending.presences.tick()
    await sending.edus.settled()
    expect(sending.sender.coalesced.waiting()).toEqual([])
  })

  it('of many goes in one EDU, of each the newest, a hundred at a time', () => {
    const coalesced = new CoalescedEdus(new TestClock().now)
    const presence = (statusMsg: string): Presence => ({
      presence: 'online',
      statusMsg,
      lastActiveTs: 0,
      currentlyActive: true,
    })
    for (let i = 0; i < 150; i++) coalesced.presence(one, user(`u${i}`), presence('old'))
    for (let i = 0; i < 150; i++) coalesced.presence(one, user(`u${i}`), presence('new'))
    const pushes = () =>
      coalesced
        .take(one, 10)
        .map((text) => (JSON.parse(text) as { content: { push: { status_msg: string }[] } }).content.push)
    const [first, second] = [pushes(), pushes()]
    expect([first.map((push) => push.length), second.map((push) => push.length)]).toEqual([[100], [50]])
    expect([...first.flat(), ...second.flat()].every(({ status_msg }) => status_msg === 'new')).toBe(true)
    expect(pushes()).toEqual([])
    expect(coalesced.waiting()).toEqual([])
  })
})
