import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Peer } from '../../scripts/bench/federation/peer.js'
import { loopbackEndpoint } from '../../scripts/bench/target.js'
import { eventually } from '../support/eventually.js'
import { messagesOf, persistently } from '../support/load.js'
import { testDatabase } from '../support/postgres.js'
import { Side, TlsFiles } from '../support/side.js'
import type { TestUser } from '../support/test-user.js'

/** Two servers as operators run them, with TLS on loopback and a link between them that can be cut. */

/** Said on each side while the link is cut. */
const SAID = Number(process.env.FEDERATION_TEST_MESSAGES ?? 200)
/** For the machines that run the tests; what it took is printed. */
const HEALS_WITHIN_MS = 60_000

const databases = [await testDatabase(), await testDatabase()]
const tls = new TlsFiles()
let one: Side
let two: Side
afterAll(() => Promise.all([one.link.cut(), two.link.cut()]))
let alice: TestUser
let bob: TestUser

beforeAll(async () => {
  ;[one, two] = await Promise.all([Side.begin(databases[0]!, tls), Side.begin(databases[1]!, tls)])
  ;[alice, bob] = await Promise.all([one.hearth.register('alice'), two.hearth.register('bob')])
}, 90_000)

const v3 = '/_matrix/client/v3'

async function sharedRoom(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat' })
  await bob.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${one.name}`, {})
  await alice.say(roomId, 'hello')
  await eventually('bob hears alice', async () => (await bodiesOf(bob, roomId)).includes('hello'))
  await bob.say(roomId, 'hello alice')
  await eventually('alice hears bob', async () => (await bodiesOf(alice, roomId)).includes('hello alice'))
  return roomId
}

const bodiesOf = async (user: TestUser, roomId: string): Promise<string[]> =>
  (await messagesOf(user, roomId)).map(({ body }) => body)

/** What was acknowledged. */
async function say(user: TestUser, roomId: string, count: number, prefix: string): Promise<string[]> {
  const said: string[] = []
  for (let i = 0; i < count; i++) {
    const body = `${prefix} ${i}`
    const path = `${v3}/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${encodeURIComponent(body)}`
    await persistently(user, 'PUT', path, { msgtype: 'm.text', body })
    said.push(body)
  }
  return said
}

/** As a client scrolls up, from the newest message to the first: what was not sent is fetched on the way. */
async function scrolledUp(user: TestUser, roomId: string): Promise<string[]> {
  const found: string[] = []
  for (let from: string | undefined = ''; from !== undefined;) {
    const query = new URLSearchParams({ dir: 'b', limit: '200', ...(from && { from }) })
    const page = await persistently(user, 'GET', `${v3}/rooms/${encodeURIComponent(roomId)}/messages?${query}`)
    found.push(...page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []))
    from = page.end
  }
  return found
}

async function hasAll(user: TestUser, roomId: string, said: readonly string[]): Promise<boolean> {
  const found = new Set(await scrolledUp(user, roomId))
  return said.every((body) => found.has(body))
}

async function both(roomId: string, count: number, when: string): Promise<string[]> {
  const said = await Promise.all([say(alice, roomId, count, `alice ${when}`), say(bob, roomId, count, `bob ${when}`)])
  return said.flat()
}

async function killBoth(): Promise<void> {
  await Promise.all([one.kill(), two.kill()])
  await Promise.all([one.start(), two.start()])
}

const cut = () => Promise.all([one.link.cut(), two.link.cut()])
const mend = () => Promise.all([one.link.mend(), two.link.mend()])

describe('a partition between two servers', () => {
  const ways: [name: string, meanwhile: () => Promise<unknown>][] = [
    ['', async () => undefined],
    [', after one of them was killed meanwhile', () => one.kill().then(() => one.start())],
    [', after both of them were killed meanwhile', () => killBoth()],
  ]

  it.each(ways)(
    'heals, and nothing that was said is lost%s',
    async (_name, meanwhile) => {
      const roomId = await sharedRoom()
      await cut()
      const half = Math.floor(SAID / 2)
      const saidBefore = await both(roomId, half, 'before')
      await meanwhile()
      const said = [...saidBefore, ...(await both(roomId, SAID - half, 'after'))]
      await mend()
      const began = performance.now()
      said.push(...(await say(alice, roomId, 1, 'are you there')), ...(await say(bob, roomId, 1, 'are you')))
      const within = { within: HEALS_WITHIN_MS, every: 100 }
      await Promise.all([
        eventually('alice has all', () => hasAll(alice, roomId, said), within),
        eventually('bob has all', () => hasAll(bob, roomId, said), within),
      ])
      const [healed, firstUsed] = [performance.now(), Math.min(...[one, two].map(({ link }) => link.firstUsed!))]
      console.info(
        `${SAID} messages on each side: healed after ${Math.round(healed - began)} ms, ` +
          `${Math.round(healed - firstUsed)} ms after a request got through`,
      )
      const [atOne, atTwo] = [await scrolledUp(alice, roomId), await scrolledUp(bob, roomId)]
      expect([new Set(atOne).size, new Set(atTwo).size]).toEqual([atOne.length, atTwo.length])
      expect(atOne.toSorted()).toEqual(atTwo.toSorted())
    },
    180_000,
  )

  it('heals when both are killed while it does', async () => {
    const roomId = await sharedRoom()
    await cut()
    const said = await both(roomId, SAID, 'apart')
    await mend()
    said.push(...(await both(roomId, 1, 'together')))
    await eventually('something came over', async () =>
      (await bodiesOf(bob, roomId)).some((body) => /^alice/.test(body)),
    )
    await killBoth()
    said.push(...(await both(roomId, 1, 'again')))
    const within = { within: HEALS_WITHIN_MS, every: 100 }
    await eventually('alice has all', () => hasAll(alice, roomId, said), within)
    await eventually('bob has all', () => hasAll(bob, roomId, said), within)
  }, 180_000)
})

describe('a server that is killed', () => {
  it('in the instant after it answered a transaction works off what was in it at the next start', async () => {
    const endpoint = await loopbackEndpoint(new URL(one.hearth.baseUrl))
    const peer = await Peer.start(tls.authority, { name: one.name, target: { endpoint } })
    try {
      const room = await peer.join(await alice.createRoom({ preset: 'public_chat', room_version: '12' }), '12')
      const said: string[] = []
      for (let round = 0; round < 5; round++) {
        const bodies = Array.from({ length: 50 }, (_, i) => `round ${round}, ${i}`)
        const transaction = peer.transaction(bodies.map((body) => room.say(body)))
        const { status } = await peer.send(transaction)
        one.process.signal('SIGKILL')
        expect(status).toBe(200)
        said.push(...bodies)
        await one.process.ended
        await one.start()
        await eventually('all of it is there', async () => (await bodiesOf(alice, room.roomId)).length === said.length)
        expect(await bodiesOf(alice, room.roomId)).toEqual(said)
      }
    } finally {
      await peer.close()
    }
  }, 180_000)
})
