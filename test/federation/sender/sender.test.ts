/** What goes to which server, in which order and how often, whatever dies meanwhile. */
import { afterEach, describe, expect, it } from '@jest/globals'
import { RemoteError } from '../../../src/federation/remote.js'
import { retryDelay } from '../../../src/federation/sender/back-off.js'
import { type Logger, silentLogger } from '../../../src/logger.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { carol, dave, erin } from '../../support/laboratory/index.js'
import { eventually } from '../../support/eventually.js'
import { arrivalOf, mia, TestClock } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../../support/rooms.js'
import { Peers, sharedRoom, testSender, type TestSenderOptions } from './peers.js'

const database = await testDatabase()
const { db } = database
const [one, two, three] = ['one.example', 'two.example', 'three.example']
const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  for (const table of ['destination', 'destination_room', 'destination_transaction', 'room_server'] as const)
    await db.deleteFrom(table).execute()
})

/** A process on the database. `through`: how its sender asks it. */
async function start({ through = db, ...options }: TestSenderOptions & { through?: typeof db } = {}) {
  const engine = await testRooms(database)
  const sending = testSender({ db: through }, engine, options)
  const { sender } = sending
  let closing: Promise<void> | undefined
  const close = () => (closing ??= sending.close().then(() => engine.close()))
  ends.push(close)
  /** Everything that can be sent now is sent. */
  const settled = async () => {
    await sender.settled()
    await sender.poll()
    await sender.settled()
  }
  return { engine, ...sending, close, settled }
}

const destination = (name: string) =>
  db.selectFrom('destination').selectAll().where('destination', '=', name).executeTakeFirst()
const waiting = () => db.selectFrom('destination_room').selectAll().execute()

describe('an event of a local user', () => {
  it('goes to every other server in its room, as its stored text, in the order of the log', async () => {
    const { engine, peers, settled } = await start()
    const { room } = await sharedRoom(engine, [carol, erin])
    const events = [await say(engine, room, mia, 'a'), await say(engine, room, mia, 'b')]
    await settled()
    for (const server of [one, two, three]) expect(peers.said(server)).toEqual([`join ${mia}`, 'a', 'b'])
    const pdus = peers.to(two).flatMap(({ content }) => content.pdus as object[])
    expect(pdus.slice(1)).toEqual(events.map(({ text }) => JSON.parse(text) as object))
    expect(peers.to(two)[0]!.content).toMatchObject({ origin: 'hearth.test', edus: [] })
    expect(await waiting()).toEqual([])
    expect(await destination(two)).toMatchObject({ failures: 0, lease_holder: null })
  })

  it('goes nowhere from a room of local users', async () => {
    const { engine, peers, settled } = await start()
    const room = await testRoom(engine, user('alice'))
    await say(engine, room, user('alice'), 'between us')
    await settled()
    expect(peers.asked).toEqual([])
  })

  it('goes to the servers that were in the room when it was sent, and to no other', async () => {
    const { engine, peers, sender, settled } = await start()
    const { room, lab } = await sharedRoom(engine, [carol])
    const letGo = [one, two, three].map((server) => peers.hold(server))
    await engine.rooms.receive(room, arrivalOf(lab.join(erin)))
    await say(engine, room, mia, 'with erin')
    await engine.rooms.receive(room, arrivalOf(lab.leave(carol)))
    await say(engine, room, mia, 'without carol')
    for (const end of letGo) end()
    await settled()
    expect(sender).toBeDefined()
    expect(peers.said(one)).toEqual([`join ${mia}`, 'with erin', 'without carol'])
    expect(peers.said(two)).toEqual([`join ${mia}`, 'with erin'])
    expect(peers.said(three)).toEqual(['with erin', 'without carol'])
  })

  it('goes in transactions of fifty, one after the other', async () => {
    const { engine, peers, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    const letGo = peers.hold(one)
    const bodies = Array.from({ length: 120 }, (_, i) => `m${i}`)
    await Promise.all(bodies.map((body) => say(engine, room, mia, body)))
    letGo()
    await settled()
    expect(peers.most.get(one)).toBe(1)
    expect(peers.said(one)).toEqual([`join ${mia}`, ...bodies])
    expect(peers.to(one).every(({ content }) => (content.pdus as object[]).length <= 50)).toBe(true)
  })

  it('is left out when the room is far behind: only the newest goes', async () => {
    const { engine, peers, clock, settled } = await start()
    const [{ room }, other] = [await sharedRoom(engine, []), await sharedRoom(engine, [])]
    await settled()
    peers.kill(one)
    await say(engine, room, mia, 'lost')
    await settled()
    await Promise.all(Array.from({ length: 205 }, (_, i) => say(engine, room, mia, `m${i}`)))
    const newest = await say(engine, room, mia, 'newest')
    await say(engine, other.room, mia, 'elsewhere')
    peers.revive(one)
    const before = peers.said(one).length
    clock.pass(10_000)
    await settled()
    // What was on its way goes as it was.
    expect(peers.said(one).slice(before)).toEqual(['lost', 'newest', 'elsewhere'])
    expect(newest.position).toBeDefined()
    expect(await waiting()).toEqual([])
  })
})

describe('an event for many servers', () => {
  it('costs fewer statements than there are servers', async () => {
    let statements = 0
    const through = db.withPlugin({
      transformQuery: ({ node }) => (statements++, node),
      transformResult: ({ result }) => Promise.resolve(result),
    })
    const { engine, peers, settled } = await start({ through })
    const servers = Array.from({ length: 25 }, (_, i) => `many${i}.example`)
    const { room } = await sharedRoom(
      engine,
      servers.map((server) => `@zoe:${server}`),
    )
    await settled()
    statements = 0
    await say(engine, room, mia, 'hello')
    await settled()
    for (const server of servers) expect(peers.said(server)).toEqual([`join ${mia}`, 'hello'])
    expect(statements).toBeLessThan(servers.length)
  })
})

describe('a change of membership', () => {
  it('is told to the server of a user who is banned, and nothing after it', async () => {
    const { engine, peers, settled } = await start()
    const { room } = await sharedRoom(engine, [carol])
    await engine.rooms.changeMembership(room, mia, carol, { membership: 'ban' })
    await say(engine, room, mia, 'they are gone')
    await settled()
    expect(peers.said(two)).toEqual([`join ${mia}`, `ban ${carol}`])
    expect(peers.said(one)).toEqual([`join ${mia}`, `ban ${carol}`, 'they are gone'])
  })

  it('is told to a server that is not in the room, when an invite is taken back', async () => {
    const { engine, peers, settled } = await start()
    const room = await testRoom(engine, user('alice'))
    await engine.rooms.changeMembership(room, user('alice'), dave, { membership: 'invite' })
    await engine.rooms.changeMembership(room, user('alice'), dave, { membership: 'leave' })
    await say(engine, room, user('alice'), 'pity')
    await settled()
    expect(peers.said(two)).toEqual([`leave ${dave}`])
  })

  it('is relayed to the others when another server brought it here, and never to that one', async () => {
    const { engine, peers, settled } = await start()
    const { room, lab } = await sharedRoom(engine, [carol])
    await settled()
    const joined = lab.join(erin)
    await engine.rooms.receive(room, { ...arrivalOf(joined), isRelayed: true })
    await settled()
    expect(peers.said(one).slice(1)).toEqual([`join ${erin}`])
    expect(peers.said(two).slice(1)).toEqual([`join ${erin}`])
    expect(peers.said(three)).toEqual([])
  })
})

describe('a transaction', () => {
  it('goes out again with the same id and body after the process died, and what came meanwhile after it', async () => {
    const peers = new Peers()
    const dying = await start({ peers })
    const { room } = await sharedRoom(dying.engine, [])
    await dying.settled()
    peers.hold(one)
    await say(dying.engine, room, mia, 'a')
    await eventually('the request is open', () => peers.to(one).length === 2)
    await dying.close()
    peers.revive(one)
    const { engine, settled } = await start({ peers })
    const there = (await engine.stores.names.find(room.roomId))!
    await say(engine, there, mia, 'b')
    await settled()
    const [, first, again, then] = peers.to(one)
    expect(again).toEqual(first)
    expect(then!.id).not.toBe(first!.id)
    expect(peers.said(one)).toEqual([`join ${mia}`, 'a', 'a', 'b'])
  })

  it('is kept while the destination does not take it, whatever it answers', async () => {
    const { engine, peers, clock, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    for (const status of [400, 401, 404, 413, 500]) {
      peers.behaviours.set(one, () => Promise.reject(new RemoteError(one, status, 'M_UNKNOWN', 'no', {})))
      await say(engine, room, mia, `refused ${status}`)
      await settled()
      clock.pass(3_600_000)
    }
    peers.revive(one)
    await settled()
    const [, ...sent] = peers.to(one)
    expect(new Set(sent.slice(0, 6).map(({ id }) => id)).size).toBe(1)
    expect(peers.said(one).slice(-5)).toEqual([400, 401, 404, 413, 500].map((status) => `refused ${status}`))
  })

  it('that is refused for hours goes one by one, and what alone is refused for a day is given up', async () => {
    const { engine, peers, clock, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    let letGo!: () => void
    const held = new Promise<void>((resolve) => (letGo = resolve))
    const isPoison = ({ content }: JsonObject) => (content as JsonObject).body === 'poison'
    peers.behaviours.set(one, async ({ content }) => {
      await held
      if ((content.pdus as JsonObject[]).some(isPoison)) throw new RemoteError(one, 400, 'M_BAD_JSON', 'no', {})
    })
    await say(engine, room, mia, 'first')
    await eventually('it is under way', () => peers.said(one).includes('first'))
    for (const body of ['a', 'poison', 'b', 'c']) await say(engine, room, mia, body)
    letGo()
    await settled()
    for (let hour = 0; hour < 6; hour++) {
      expect(peers.said(one).slice(-4)).toEqual(['a', 'poison', 'b', 'c'])
      clock.pass(3_600_000)
      await settled()
    }
    expect(
      new Set(
        peers
          .to(one)
          .slice(2, 8)
          .map(({ id }) => id),
      ).size,
    ).toBe(1)
    await settled()
    expect(peers.said(one).slice(-2)).toEqual(['a', 'poison'])
    await say(engine, room, mia, 'd')
    for (let hour = 0; hour < 23; hour++) {
      clock.pass(3_600_000)
      await settled()
      expect(peers.said(one).at(-1)).toBe('poison')
    }
    expect(await destination(one)).toMatchObject({ is_split: true, given_up: 0 })
    clock.pass(3_600_000)
    await settled()
    expect(peers.said(one).slice(-4)).toEqual(['poison', 'b', 'c', 'd'])
    expect(await waiting()).toEqual([])
    expect(await destination(one)).toMatchObject({ is_split: false, given_up: 1, failures: 0, lease_holder: null })
  })

  it('is refused for ever by a server that does not know us, and kept', async () => {
    const { engine, peers, clock, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    peers.behaviours.set(one, () => Promise.reject(new RemoteError(one, 403, 'M_FORBIDDEN', 'no', {})))
    await say(engine, room, mia, 'hello')
    for (let hour = 0; hour < 40; hour++) {
      await settled()
      clock.pass(3_600_000)
    }
    peers.revive(one)
    await settled()
    expect(
      new Set(
        peers
          .to(one)
          .slice(1)
          .map(({ id }) => id),
      ).size,
    ).toBe(1)
    expect(await destination(one)).toMatchObject({ given_up: 0, failures: 0 })
  })

  it('waits as long as a destination that is busy says', async () => {
    const { engine, peers, clock, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    peers.behaviours.set(one, () => Promise.reject(new RemoteError(one, 429, 'M_LIMIT_EXCEEDED', 'slow', {}, 60_000)))
    await say(engine, room, mia, 'hello')
    await settled()
    expect((await destination(one))?.retry_ts).toBe(clock.now() + 60_000)
  })
})

describe('a destination that fails', () => {
  it.each([
    [1, 0.5, 2_000],
    [2, 0.5, 4_000],
    [5, 0.5, 32_000],
    [11, 0.5, 2_048_000],
    [12, 0.5, 3_600_000],
    [5_000, 0.5, 3_600_000],
    [1, 0, 1_600],
    [5_000, 0.999_999, 4_319_999],
  ])('is left alone after %d failures (chance %d) for %d ms', (failures, random, delay) => {
    expect(retryDelay(failures, random)).toBe(delay)
  })

  it('is asked again when its time has come and not before, each time later', async () => {
    const { engine, peers, clock, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    peers.kill(one)
    await say(engine, room, mia, 'hello')
    await settled()
    for (const [failures, delay] of [
      [1, 2_000],
      [2, 4_000],
      [3, 8_000],
    ] as const) {
      expect(await destination(one)).toMatchObject({ failures, retry_ts: clock.now() + delay })
      expect((await destination(one))?.last_error).toMatch(/is down/)
      const asked = peers.to(one).length
      clock.pass(delay - 1)
      await say(engine, room, mia, 'are you there?')
      await settled()
      expect(peers.to(one)).toHaveLength(asked)
      clock.pass(1)
      await settled()
      expect(peers.to(one)).toHaveLength(asked + 1)
    }
  })

  it('is in the log with how long what it was sent has been on its way', async () => {
    const lags: unknown[] = []
    const info = ({ lag_ms }: { lag_ms?: number }) => void lags.push(lag_ms)
    const { engine, peers, clock, settled } = await start({ logger: { ...silentLogger, info } as Logger })
    const { room } = await sharedRoom(engine, [])
    await settled()
    peers.kill(one)
    await say(engine, room, mia, 'hello')
    await settled()
    clock.pass(2_000)
    await settled()
    expect(lags).toEqual([0, 2_000])
  })

  it('is asked at once when it is heard', async () => {
    const { engine, peers, sender, settled } = await start()
    const { room } = await sharedRoom(engine, [])
    await settled()
    peers.kill(one)
    await say(engine, room, mia, 'hello')
    await settled()
    peers.revive(one)
    sender.heard(one)
    await eventually('it was sent', () => peers.said(one).length === 3)
    await settled()
    expect(await destination(one)).toMatchObject({ failures: 0, retry_ts: 0, last_error: null })
  })

  it('keeps nobody else waiting', async () => {
    const config = { atOnce: 4, failingAtOnce: 2 }
    const { engine, peers, clock, settled, sender } = await start({ config })
    const dead = Array.from({ length: 8 }, (_, i) => `dead${i}.example`)
    const { room } = await sharedRoom(
      engine,
      dead.map((server) => `@zoe:${server}`),
    )
    for (const server of dead) peers.kill(server)
    await settled()
    for (const server of dead) expect(await destination(server)).toMatchObject({ failures: 1 })
    // Now they take long to fail, too.
    const letGo = dead.map((server) => peers.hold(server))
    clock.pass(3_000)
    await sender.poll()
    await eventually('two of them are asked', () => dead.filter((server) => peers.to(server).length === 2).length === 2)
    await say(engine, room, mia, 'hello')
    await eventually('the living has it', () => peers.said(one).includes('hello'))
    expect(dead.filter((server) => peers.to(server).length === 2)).toHaveLength(2)
    for (const end of letGo) end()
  })
})

describe('destinations that say nothing for the first time', () => {
  it('keep nobody else waiting, and no more than so many are waited for', async () => {
    const config = { atOnce: 2, moment: 5, most: 7 }
    const { engine, peers, settled } = await start({ config })
    const silent = Array.from({ length: 6 }, (_, i) => `silent${i}.example`)
    const { room } = await sharedRoom(
      engine,
      silent.map((server) => `@zoe:${server}`),
    )
    await settled()
    // They answered later than the one that lives, and so their turns come first.
    await db.updateTable('destination').set({ last_success_ts: 0 }).where('destination', '=', one).execute()
    const letGo = silent.map((server) => peers.hold(server))
    await say(engine, room, mia, 'hello')
    await eventually('the living has it', () => peers.said(one).includes('hello'))
    expect(silent.filter((server) => peers.to(server).length === 2)).toHaveLength(6)

    const others = await sharedRoom(engine, [carol, erin])
    const letGoOthers = [two, three].map((server) => peers.hold(server))
    await eventually('one more is asked', () => peers.to(two).length + peers.to(three).length === 1)
    await say(engine, others.room, mia, 'are you all there?')
    expect(peers.to(two).length + peers.to(three).length).toBe(1)
    for (const end of [...letGo, ...letGoOthers]) end()
    await settled()
    expect([two, three].map((server) => peers.said(server).at(-1))).toEqual(Array(2).fill('are you all there?'))
  })
})

describe('destinations that have never answered', () => {
  const strangers = Array.from({ length: 6 }, (_, i) => `stranger${i}.example`)

  /** In a room with one that has answered before, and does not answer yet. */
  async function besideOne(headStart: number) {
    const started = await start({ config: { headStart, moment: 60_000 } })
    const { engine, peers, settled } = started
    await sharedRoom(engine, [])
    await settled()
    expect(await destination(one)).toMatchObject({ last_success_ts: expect.any(Number) })
    const letGo = peers.hold(one)
    const asked = peers.to(one).length
    await sharedRoom(
      engine,
      strangers.map((server) => `@zoe:${server}`),
    )
    await eventually('the other is asked', () => peers.to(one).length > asked)
    return { ...started, letGo, begun: () => strangers.filter((server) => peers.to(server).length > 0) }
  }

  it('begin when those are through who have', async () => {
    const { sender, begun, letGo, settled } = await besideOne(60_000)
    for (let poll = 0; poll < 3; poll++) await sender.poll()
    expect(begun()).toEqual([])
    letGo()
    await settled()
    expect(begun()).toEqual(strangers)
  })

  it('do not wait for long', async () => {
    const { begun, letGo } = await besideOne(50)
    await eventually('all have begun', () => begun().length === strangers.length)
    letGo()
  })
})

describe('two processes', () => {
  it('share the destinations, and each destination has one transaction in flight', async () => {
    const peers = new Peers()
    const clock = new TestClock()
    const [a, b] = [await start({ peers, clock }), await start({ peers, clock })]
    const { room } = await sharedRoom(a.engine, [carol, erin])
    const there = (await b.engine.stores.names.find(room.roomId))!
    await join(b.engine, there, user('bob'))
    const sends: Promise<unknown>[] = []
    for (let i = 0; i < 40; i++) {
      sends.push(say(a.engine, room, mia, `a${i}`), say(b.engine, there, user('bob'), `b${i}`))
      if (i % 10 === 0) await Promise.race(sends)
    }
    await Promise.all(sends)
    await eventually('all is sent', async () => {
      await Promise.all([a.settled(), b.settled()])
      return (await waiting()).length === 0
    })
    const rows = await db
      .selectFrom('event')
      .innerJoin('event_text', (on) =>
        on.onRef('event_text.room', '=', 'event.room').onRef('event_text.event', '=', 'event.event'),
      )
      .select('body')
      .where('event.room', '=', room.room)
      .where('is_outgoing', '=', true)
      .orderBy('position')
      .execute()
    for (const server of [one, two, three]) {
      expect(peers.most.get(server)).toBe(1)
      const sent = peers.to(server).flatMap(({ content }) => content.pdus as object[])
      expect(sent).toEqual(rows.map(({ body }) => JSON.parse(body) as object))
    }
  })

  it('a lease that has ended goes to the other, and who lost it writes nothing', async () => {
    const peers = new Peers()
    const clock = new TestClock()
    const [slow, other] = [await start({ peers, clock, config: { lease: 0 } }), await start({ peers, clock })]
    const { room } = await sharedRoom(slow.engine, [])
    await slow.settled()
    const letGo = peers.hold(one)
    await say(slow.engine, room, mia, 'hello')
    await eventually('the request is open', () => peers.to(one).length === 2)
    peers.revive(one)
    await other.settled()
    expect(peers.said(one)).toEqual([`join ${mia}`, 'hello', 'hello'])
    const before = await destination(one)
    letGo()
    await slow.sender.settled()
    expect(await destination(one)).toEqual(before)
  })
})

describe('stopping', () => {
  it('is no failure of the destination, may come twice, and before anything was sent', async () => {
    const { engine, peers, sender } = await start()
    const { room } = await sharedRoom(engine, [])
    peers.hold(one)
    await say(engine, room, mia, 'hello')
    await eventually('the request is open', () => peers.to(one).length > 0)
    await Promise.all([sender.close(), sender.close()])
    expect(await destination(one)).toMatchObject({ failures: 0, lease_holder: null })
    const fresh = await start()
    await fresh.sender.close()
    await fresh.sender.poll()
    expect(fresh.peers.asked).toEqual([])
  })
})
