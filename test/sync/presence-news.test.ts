import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { noFilter } from '../../src/protocol/filter.js'
import type { DeviceNumber, Position, RoomNumber } from '../../src/protocol/numbers.js'
import { EphemeralOrder } from '../../src/sync/ephemeral-order.js'
import type { JoinedRooms } from '../../src/sync/joined-rooms.js'
import { PresenceNews } from '../../src/sync/presence-news.js'
import { Presences } from '../../src/sync/presence.js'
import { UserView } from '../../src/sync/user-view.js'
import { Waiter } from '../../src/sync/waiter.js'
import { TestClock } from '../support/inbound.js'

/** A hall in which a thousand people sync, and a corner of it with two of them. */
const [hall, corner] = [1, 2] as RoomNumber[]
const CROWD = 1_000
const device = 1 as DeviceNumber

let clock: TestClock
let order: EphemeralOrder
let presences: Presences
let news: PresenceNews
let views: UserView[]
beforeEach(() => {
  clock = new TestClock()
  order = new EphemeralOrder()
  presences = new Presences(clock.now)
  views = Array.from({ length: CROWD }, (_, i) => {
    const view = new UserView(`@${i}:x`, 0 as Position, order.count)
    for (const room of roomsOf(view.userId)) view.joined.add(room)
    return view
  })
  const joined = { of: (userId: string) => Promise.resolve(roomsOf(userId)) } as unknown as JoinedRooms
  news = new PresenceNews(presences, order, joined, {
    in: (room) => new Set(views.filter((view) => view.joined.has(room))),
  })
})
afterEach(() => presences.close())

const roomsOf = (userId: string): Set<RoomNumber> =>
  new Set(['@0:x', '@1:x'].includes(userId) ? [hall!, corner!] : [hall!])
const told = async () => {
  presences.tick()
  await new Promise((resolve) => setImmediate(resolve))
  clock.pass(5_000)
}
const token = () => ({ process: order.process, count: order.count })
const sendersIn = (view: UserView, since: ReturnType<typeof token>) =>
  news.of(view, noFilter.presence, since, []).texts.map((text) => (JSON.parse(text) as { sender: string }).sender)
const isWokenBy = async (view: UserView, change: () => void): Promise<boolean> => {
  const waiter = new Waiter()
  view.waiters.add(waiter)
  change()
  await told()
  view.waiters.delete(waiter)
  return (await waiter.woken(0)) === 'news'
}

describe('in a room where many sync', () => {
  it('nobody is woken, and all are told with what comes next', async () => {
    const since = token()
    const [first, second, other] = views as [UserView, UserView, UserView]
    expect(await isWokenBy(first, () => presences.syncing(other.userId, device, 'online', 0))).toBe(false)
    expect(news.hasMore(second, since)).toBe(true)
    for (const view of [first, second]) expect(sendersIn(view, since)).toEqual([other.userId])
    expect(sendersIn(other, since)).toEqual([])
    expect(news.hasMore(second, token())).toBe(false)
    expect(sendersIn(second, token())).toEqual([])
  })

  it('those are woken who share a smaller room too, and are told once', async () => {
    const since = token()
    const [first, second] = views as [UserView, UserView]
    expect(await isWokenBy(first, () => presences.syncing(second.userId, device, 'online', 0))).toBe(true)
    expect(sendersIn(first, since)).toEqual([second.userId])
  })

  it('who was away while all came and went is told of those that changed last', async () => {
    const since = token()
    for (let round = 0; round < 7; round++) {
      for (const { userId } of views) presences.set(userId, device, 'online', `${round}`)
      await told()
    }
    const heard = sendersIn(views[2]!, since)
    expect(heard).toHaveLength(CROWD - 1)
    expect(new Set(heard).size).toBe(CROWD - 1)
  })

  it('one change costs the same, whether few or many sync', async () => {
    for (const { userId } of views) presences.syncing(userId, device, 'online', 0)
    await told()
    expect(views.every(({ presence }) => presence.newest <= 2)).toBe(true)
  })
})

describe('presence of more users than are kept', () => {
  it('forgets those who have been away longest', () => {
    for (let i = 0; i < 50_010; i++) presences.set(`@stranger${i}:x`, device, 'offline', undefined)
    expect([0, 9, 10].map((i) => presences.isKnown(`@stranger${i}:x`))).toEqual([false, false, true])
  })
})
