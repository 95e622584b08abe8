import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { byRoomAndSender, inRoom, Load, messagesOf, Reader, seeded } from '../support/load.js'
import { testDatabase } from '../support/postgres.js'
import { type HearthProcess, type Installation, installation } from '../support/server-process.js'

/**
 * What was acknowledged is there after a crash, once and in order, and clients that go on with their tokens notice
 * nothing but a pause. See https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers for the repeated sends.
 */

interface Way {
  readonly name: string
  readonly environment: Readonly<Record<string, string>>
  readonly crashes: number
  readonly kill: (hearth: Installation, server: HearthProcess) => Promise<unknown>
}

const database = await testDatabase()
const signingKey = join((await installation()).folder, 'signing.key')

const ways: Way[] = [
  {
    name: 'the process, on a Postgres that goes on',
    environment: { DATABASE_URL: database.url, SIGNING_KEY_FILE: signingKey },
    crashes: 5,
    kill: (_, server) => server.end('SIGKILL'),
  },
  {
    name: 'the process, whose own Postgres is left behind',
    environment: {},
    crashes: 2,
    kill: (_, server) => server.end('SIGKILL'),
  },
  {
    name: 'the process and its own Postgres',
    environment: {},
    crashes: 3,
    kill: (hearth, server) => Promise.all([hearth.killPostgres(), server.end('SIGKILL')]),
  },
]

describe('SIGKILL under load', () => {
  it.each(ways)(
    'of $name loses and doubles nothing that was acknowledged',
    async ({ environment, crashes, kill }) => {
      const random = seeded(crashes)
      const hearth = await installation(environment)
      let server = await hearth.start()
      const { rooms, users } = await population(hearth)
      const reader = new Reader(() => users[0]!)
      await reader.begin()
      const reading = new AbortController()
      const following = reader.run(reading.signal)

      const load = new Load(users.slice(1).map((user) => [user, rooms]))
      for (let crash = 0; crash < crashes; crash++) {
        await load.more(20 + Math.floor(random() * 100))
        await delay(random() * 20) // not to wait for anything: so that it happens in the middle of something
        await kill(hearth, server)
        server = await hearth.start()
      }
      await load.more(50)
      await load.stop()

      await eventually('the reader has it all', () => reader.seen.length >= load.acknowledged.length)
      reading.abort()
      await following
      await reader.step(0)
      const stored = (await Promise.all(rooms.map((room) => messagesOf(users[0]!, room)))).flat()
      expect(byRoomAndSender(stored)).toEqual(byRoomAndSender(load.acknowledged))
      for (const room of rooms) expect(inRoom(reader.seen, room)).toEqual(inRoom(stored, room))
      console.info(`${load.acknowledged.length} messages over ${crashes} crashes, ${reader.answers} answers of /sync`)
      await server.end('SIGTERM')
    },
    90_000,
  )
})

describe('a token', () => {
  it('is good after a crash, even where what it points at is gone', async () => {
    const hearth = await installation({ DATABASE_URL: database.url, SIGNING_KEY_FILE: signingKey })
    const server = await hearth.start()
    const user = await hearth.register()
    const room = await user.createRoom()
    const before = await user.syncToken()
    const messages = { [user.userId]: { [user.deviceId]: { secret: 1 } } }
    await user.ok('PUT', '/_matrix/client/v3/sendToDevice/a.test/1', { messages })
    const { to_device: received, next_batch: since } = await user.sync({ since: before, timeout: 5_000 })
    expect(received.events).toMatchObject([{ type: 'a.test' }])
    // With this token the device says that it has the message, and it is deleted.
    await user.sync({ since })

    await server.end('SIGKILL')
    const again = await hearth.start()
    expect(await user.sync({ since })).not.toHaveProperty('rooms')
    await user.say(room, 'after the crash')
    const { rooms } = await user.sync({ since, timeout: 5_000 })
    expect(rooms.join[room].timeline).toMatchObject({ limited: false, events: [{ type: 'm.room.message' }] })
    await again.end('SIGTERM')
  }, 60_000)
})

async function population(hearth: Installation) {
  const users = await Promise.all(Array.from({ length: 7 }, () => hearth.register()))
  const rooms = await Promise.all(users.slice(0, 3).map((user) => user.createRoom()))
  for (const room of rooms) await Promise.all(users.map((user) => user.join(room)))
  return { users, rooms }
}
