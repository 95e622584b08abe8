import { setTimeout as delay } from 'node:timers/promises'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { eventually } from '../support/eventually.js'
import { byRoomAndSender, inRoom, Load, type Message, messagesOf, Reader, seeded } from '../support/load.js'
import { testDatabase } from '../support/postgres.js'
import { type HearthProcess, type Installation, installation } from '../support/server-process.js'
import type { TestUser } from '../support/test-user.js'

/** Two processes on one database are one server: whatever is done at one is there at the other. */

const database = await testDatabase()
let here: Installation
let there: Installation
let processes: { here: HearthProcess; there: HearthProcess }
const users: TestUser[] = []
const rooms: string[] = []

beforeAll(async () => {
  here = await installation({ DATABASE_URL: database.url })
  const key = join(here.dataDir, 'signing.key')
  there = await installation({ DATABASE_URL: database.url, SIGNING_KEY_FILE: key })
  const first = await here.start()
  processes = { here: first, there: await there.start() }
  for (let i = 0; i < 9; i++) users.push(await (i % 2 === 0 ? here : there).register(`user-${i}`))
  for (const user of users.slice(0, 3)) rooms.push(await user.createRoom())
  for (const room of rooms) for (const user of users) await at(here, user).join(room)
}, 90_000)

const at = ({ baseUrl }: Installation, user: TestUser): TestUser => user.at(baseUrl)

/** Readers of all rooms: one at each process, and one that asks a process drawn by lot each time. */
function readers() {
  const random = seeded(7)
  const reader = new Reader(() => at(here, users[0]!))
  const other = new Reader(() => at(there, users[1]!))
  const wanderer = new Reader(() => at(random() < 0.5 ? here : there, users[2]!))
  return [reader, other, wanderer]
}

describe('two processes on one database', () => {
  let following: readonly Reader[]
  let reading: AbortController
  let done: Promise<unknown>

  beforeEach(async () => {
    following = readers()
    await Promise.all(following.map((reader) => reader.begin()))
    reading = new AbortController()
    done = Promise.all(following.map((reader) => reader.run(reading.signal)))
    done.catch(() => {})
  })

  afterEach(async () => {
    reading.abort()
    await done
  })

  /** All readers have what was acknowledged, in the order in which it is stored, and nothing twice. */
  async function expectAgreement(acknowledged: readonly Message[]): Promise<void> {
    const haveItAll = () => following.every(({ seen }) => seen.length >= acknowledged.length)
    await eventually('the readers have it all', haveItAll).catch(() => {}) // what they have is compared below
    reading.abort()
    await done
    for (const reader of following) await reader.step(0)
    const newly = new Set(acknowledged.map(({ eventId }) => eventId))
    const stored = (await Promise.all(rooms.map((room) => messagesOf(at(there, users[0]!), room)))).flat()
    const ofThisTest = stored.filter(({ eventId }) => newly.has(eventId))
    expect(byRoomAndSender(ofThisTest)).toEqual(byRoomAndSender(acknowledged))
    for (const room of rooms) {
      for (const { seen } of following) expect(inRoom(seen, room)).toEqual(inRoom(ofThisTest, room))
    }
  }

  const load = () => new Load(users.slice(3).map((user, i) => [at(i % 2 === 0 ? here : there, user), rooms]))

  it('show the same events in the same order, whichever is asked', async () => {
    const writing = load()
    await writing.more(600)
    await writing.stop()
    await expectAgreement(writing.acknowledged)
    console.info(`${writing.acknowledged.length} messages, answers of /sync: ${following.map((one) => one.answers)}`)
  }, 60_000)

  it('wake each other', async () => {
    const [room] = rooms
    const took: number[] = []
    for (const [one, other] of [
      [here, there],
      [there, here],
      [here, there],
    ] as const) {
      const reader = at(one, users[4]!)
      const since = await reader.syncToken()
      const poll = reader.sync({ since, timeout: 20_000 })
      // It is under way when nothing has answered it for a moment.
      expect(await Promise.race([poll, delay(300, 'waiting')])).toBe('waiting')
      const begin = performance.now()
      const eventId = await at(other, users[5]!).say(room!, 'wake up')
      const { rooms: answered } = await poll
      took.push(Math.round(performance.now() - begin))
      expect(answered.join[room!].timeline.events).toMatchObject([{ event_id: eventId }])
    }
    console.info(`woken by the other process after ${took.join(', ')} ms`)
    expect(Math.max(...took)).toBeLessThan(1_000)
  }, 60_000)

  it('go on without one that is stopped in the middle of a transaction, and it recovers', async () => {
    const writing = load()
    await writing.more(50)
    await stopInTransaction(processes.here, () => writing.more(5))
    try {
      const begin = performance.now()
      const before = writing.acknowledged.length
      await at(there, users[1]!).createRoom()
      const took = Math.round(performance.now() - begin)
      await writing.more(100)
      console.info(`the other process went on after ${took} ms; ${writing.acknowledged.length - before} messages since`)
      expect(took).toBeLessThan(3_000)
    } finally {
      processes.here.signal('SIGCONT')
    }
    await writing.more(100)
    await writing.stop()
    await expectAgreement(writing.acknowledged)
    expect(processes.here.hasEnded).toBe(false)
  }, 60_000)
})

/** Stops the process until it is caught with a transaction open in which it holds the lock of the log. */
async function stopInTransaction(server: HearthProcess, moment: () => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    for (let attempt = 0; attempt < 100; attempt++) {
      await moment()
      server.signal('SIGSTOP')
      const [before, after] = [await holder(client), await delay(50).then(() => holder(client))]
      if (before !== undefined && before === after) return
      server.signal('SIGCONT')
    }
    throw new Error('the process was never caught in a transaction')
  } finally {
    await client.end()
  }
}

/** The session that holds the lock of the log while its process lets it wait, with the time since when. */
async function holder(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ held: string }>(`
    select pid || ' since ' || state_change as held from pg_stat_activity join pg_locks using (pid)
    where locktype = 'advisory' and granted and state = 'idle in transaction' and datname = current_database()`)
  return rows[0]?.held
}
