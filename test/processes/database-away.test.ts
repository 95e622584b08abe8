import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { databaseProxy } from '../support/database-proxy.js'
import { eventually } from '../support/eventually.js'
import type { Answer } from '../support/http.js'
import { byRoomAndSender, inRoom, Load, messagesOf, Reader } from '../support/load.js'
import { testDatabase } from '../support/postgres.js'
import { installation } from '../support/server-process.js'
import type { TestUser } from '../support/test-user.js'

/** Without its database the server refuses and says so, and when it is back the server is, too. */

const database = await testDatabase()
const signingKey = join((await installation()).folder, 'signing.key')
const onDatabase = (url = database.url) => installation({ DATABASE_URL: url, SIGNING_KEY_FILE: signingKey })

const unavailable = { status: 503, errcode: 'M_UNKNOWN', retryAfter: expect.stringMatching(/^\d+$/) }

const refusal = ({ status, body, headers }: Answer) => ({
  status,
  errcode: body.errcode,
  retryAfter: headers.get('retry-after'),
})

const say = (user: TestUser, room: string, transaction: string) =>
  user.put(`/_matrix/client/v3/rooms/${room}/send/m.room.message/${transaction}`, { msgtype: 'm.text', body: 'text' })

const isBack = (user: TestUser, room: string) =>
  eventually('the server is back', async () => (await say(user, room, `${performance.now()}`)).status === 200, {
    within: 20_000,
  })

describe('a database that is away', () => {
  it('is waited for by requests with 503, and found again', async () => {
    const proxy = await databaseProxy(database)
    const hearth = await onDatabase(proxy.url)
    const server = await hearth.start()
    const user = await hearth.register('ada')
    const room = await user.createRoom()
    const since = await user.syncToken()
    const poll = user.sync({ since, timeout: 60_000 })
    expect(await Promise.race([poll, delay(300, 'waiting')])).toBe('waiting')

    await proxy.cut()
    const login = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'ada' },
      password: 'secret password',
    }
    const answers = await Promise.all([
      say(user, room, 'away'),
      user.post('/_matrix/client/v3/createRoom'),
      user.put(`/_matrix/client/v3/user/${user.userId}/account_data/a.b`, {}),
      user.get(`/_matrix/client/v3/rooms/${room}/messages?dir=b`),
      user.get(`/_matrix/client/v3/profile/${user.userId}`),
      user.post('/_matrix/client/v3/login', login),
      user.post('/_matrix/client/v3/register', {
        username: 'eve',
        password: 'secret password',
        auth: { type: 'm.login.dummy' },
      }),
    ])
    expect(answers.map(refusal)).toEqual(answers.map(() => unavailable))
    expect((await user.get('/_matrix/client/versions')).status).toBe(200)
    // It was waited for once; now there is an answer at once.
    const begin = performance.now()
    expect(refusal(await say(user, room, 'still away'))).toEqual(unavailable)
    expect(performance.now() - begin).toBeLessThan(2_000)
    expect(server.log.filter(({ msg }) => msg === 'the database is unavailable')).not.toEqual([])

    await proxy.open()
    await isBack(user, room)
    const answered = await poll
    const { rooms } = answered.rooms === undefined ? await user.sync({ since: answered.next_batch }) : answered
    expect(rooms.join[room].timeline.events).not.toEqual([])
    expect((await say(user, room, 'away')).status).toBe(200)
    expect(server.hasEnded).toBe(false)
    await server.end('SIGTERM')
  }, 90_000)

  it('that lets nobody in is away, too', async () => {
    const hearth = await onDatabase()
    const server = await hearth.start()
    const user = await hearth.register()
    const room = await user.createRoom()
    await allowConnections(false)
    try {
      expect(refusal(await say(user, room, 'forbidden'))).toEqual(unavailable)
      expect(refusal(await user.get(`/_matrix/client/v3/rooms/${room}/messages?dir=b`))).toEqual(unavailable)
    } finally {
      await allowConnections(true)
    }
    await isBack(user, room)
    await server.end('SIGTERM')
  }, 60_000)

  it('does not keep two processes from hearing each other afterwards', async () => {
    const proxy = await databaseProxy(database)
    const here = await onDatabase(proxy.url)
    const there = await onDatabase()
    const servers = [await here.start(), await there.start()]
    const user = await there.register()
    const room = await user.createRoom()
    const reader = user.at(here.baseUrl)
    await reader.sync()

    await proxy.cut()
    // Long enough that it has looked for its database in vain.
    await delay(3_000)
    await proxy.open()
    await isBack(reader, room)
    // Looking by itself would take two seconds each time.
    const took: number[] = []
    await eventually('a poll is woken at once', async () => {
      const poll = reader.sync({ since: await reader.syncToken(), timeout: 20_000 })
      await delay(100)
      const begin = performance.now()
      await user.say(room, 'wake up')
      await poll
      took.push(Math.round(performance.now() - begin))
      return took.slice(-3).length === 3 && took.slice(-3).every((ms) => ms < 500)
    })
    console.info(`after the database came back, woken by the other process after ${took.join(', ')} ms`)
    await Promise.all(servers.map((server) => server.end('SIGTERM')))
  }, 60_000)

  it('because its own Postgres was killed is started again, and nothing is lost or doubled', async () => {
    const hearth = await installation()
    const server = await hearth.start()
    const users = await Promise.all(Array.from({ length: 5 }, () => hearth.register()))
    const room = await users[0]!.createRoom()
    for (const user of users) await user.join(room)
    const reader = new Reader(() => users[0]!)
    await reader.begin()
    const reading = new AbortController()
    const following = reader.run(reading.signal)
    const load = new Load(users.slice(1).map((user) => [user, [room]]))
    for (let i = 0; i < 2; i++) {
      await load.more(50)
      await hearth.killPostgres()
      await expectOnlyUnavailable(users[0]!, room)
    }
    await load.more(50)
    await load.stop()
    await eventually('the reader has it all', () => reader.seen.length >= load.acknowledged.length)
    reading.abort()
    await following
    const stored = await messagesOf(users[0]!, room)
    expect(byRoomAndSender(stored)).toEqual(byRoomAndSender(load.acknowledged))
    expect(inRoom(reader.seen, room)).toEqual(inRoom(stored, room))
    expect(server.hasEnded).toBe(false)
    await server.end('SIGTERM')
    expect(hearth.postgres()).toBeUndefined()
  }, 90_000)
})

/** Asks until there is an answer; what is refused before is refused as it should be. */
async function expectOnlyUnavailable(user: TestUser, room: string): Promise<void> {
  const refused: Answer[] = []
  await eventually('there is an answer', async () => {
    const answer = await user.get(`/_matrix/client/v3/rooms/${room}/messages?dir=b`)
    if (answer.status !== 200) refused.push(answer)
    return answer.status === 200
  })
  expect(refused.map(refusal)).toEqual(refused.map(() => unavailable))
}

async function allowConnections(allowed: boolean): Promise<void> {
  const { socketFolder, user, database: name } = database.address
  const client = new pg.Client({ host: socketFolder, user, database: 'postgres' })
  await client.connect()
  await client.query(`alter database ${name} allow_connections ${allowed}`)
  if (!allowed) await client.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name])
  await client.end()
}

describe('a full disk', () => {
  const reason = whyNoDisk()
  if (reason !== undefined) console.info(`a full disk is not tried: ${reason}`)
  const test = reason === undefined ? it : it.skip

  test('refuses with 503 what cannot be written, until there is room again', async () => {
    const hearth = await installation()
    mkdirSync(hearth.dataDir)
    run('mount', '-t', 'tmpfs', '-o', 'size=200m,mode=711', 'hearth-test', hearth.dataDir)
    try {
      const server = await hearth.start()
      const user = await hearth.register()
      const room = await user.createRoom()
      const ballast = join(hearth.dataDir, 'ballast')
      const { bavail, bsize } = statfsSync(hearth.dataDir)
      writeFileSync(ballast, Buffer.alloc(bavail * bsize - 1_000_000))

      const acknowledged: string[] = []
      const refused: Answer[] = []
      for (let i = 0; i < 500 && refused.length < 3; i++) {
        const body = { msgtype: 'm.text', body: randomBytes(22_000).toString('hex') }
        const answer = await user.put(`/_matrix/client/v3/rooms/${room}/send/m.room.message/${i}`, body)
        if (answer.status === 200) acknowledged.push(answer.body.event_id)
        else refused.push(answer)
      }
      expect(refused.map(refusal)).toEqual([unavailable, unavailable, unavailable])
      expect(server.hasEnded).toBe(false)

      rmSync(ballast)
      await isBack(user, room)
      const stored = (await messagesOf(user, room)).map(({ eventId }) => eventId)
      expect(stored.filter((id) => acknowledged.includes(id))).toEqual(acknowledged)
      expect(server.hasEnded).toBe(false)
      await server.end('SIGTERM')
    } finally {
      await hearth.killAll()
      run('umount', '-l', hearth.dataDir)
    }
  }, 120_000)
})

/** A disk that can be filled is a file system of its own. */
function whyNoDisk(): string | undefined {
  if (process.platform !== 'linux') return 'it is done on Linux only'
  if (process.getuid?.() !== 0) return 'only root may mount a file system'
  const folder = mkdtempSync(join(tmpdir(), 'hearth-mount-'))
  try {
    run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'hearth-test', folder)
    run('umount', folder)
    return undefined
  } catch (error) {
    return (error as Error).message
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`)
}
