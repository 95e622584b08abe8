import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { largeRooms } from '../../scripts/bench/large-rooms/seed.js'
import { parseSigningKeyFile } from '../../src/protocol/signing.js'
import { eventually } from '../support/eventually.js'
import { messagesOf } from '../support/load.js'
import { testDatabase } from '../support/postgres.js'
import { Side, TlsFiles } from '../support/side.js'
import type { TestUser } from '../support/test-user.js'

/** So many that fetching them takes a while. */
const MEMBERS = 3_000

const [ofResident, ofJoining] = [await testDatabase(), await testDatabase()]
const tls = new TlsFiles()
let resident: Side
let joining: Side
afterAll(() => Promise.all([resident.link.cut(), joining.link.cut()]))
let alice: TestUser
let bob: TestUser

beforeAll(async () => {
  ;[resident, joining] = await Promise.all([Side.begin(ofResident, tls), Side.begin(ofJoining, tls)])
  // Rooms are seeded among the users of the bench only.
  ;[alice, bob] = await Promise.all([resident.hearth.register('bench-alice'), joining.hearth.register('bench-bob')])
}, 90_000)

async function largeRoom(): Promise<string> {
  const [roomId] = await largeRooms({
    databaseUrl: ofResident.url,
    rooms: 1,
    members: MEMBERS,
    roomVersion: '11',
    signingKey: parseSigningKeyFile(readFileSync(join(resident.hearth.dataDir, 'signing.key'), 'utf8')),
    signal: AbortSignal.timeout(60_000),
    advanceLog: () => alice.createRoom(),
    show: () => {},
  })
  return roomId!
}

const roomPath = (roomId: string) => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`

async function stateOf(user: TestUser, roomId: string): Promise<string[]> {
  const events: { event_id: string }[] = await user.ok('GET', `${roomPath(roomId)}/state`)
  return events.map(({ event_id }) => event_id).toSorted()
}

const isPartial = async () => (await ofJoining.db.selectFrom('partial_join').select('room').execute()).length === 1

const stored = async () =>
  Number(
    (await ofJoining.db
      .selectFrom('event')
      .select(({ fn }) => fn.countAll().as('count'))
      .executeTakeFirst())!.count,
  )

describe('a server that is killed while the members of a room are still to come', () => {
  it('goes on with them at the next start, however often, and keeps what was said meanwhile', async () => {
    const roomId = await largeRoom()
    await alice.join(roomId)
    await bob.ok('POST', `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=${resident.name}`, {})
    await bob.say(roomId, 'said before the members were here')
    await joining.kill()
    expect(await isPartial()).toBe(true)

    const before = await stored()
    await joining.start()
    await eventually('more of them are here', async () => (await stored()) > before, { every: 5 })
    await joining.kill()
    expect(await isPartial()).toBe(true)

    await joining.start()
    await bob.say(roomId, 'said after the second start')
    await eventually('all members are here', async () => !(await isPartial()), { within: 60_000 })
    expect(await stateOf(bob, roomId)).toEqual(await stateOf(alice, roomId))
    const { joined } = await bob.ok('GET', `${roomPath(roomId)}/joined_members`)
    expect(Object.keys(joined)).toHaveLength(MEMBERS + 2)
    await eventually('alice has heard bob', async () => (await messagesOf(alice, roomId)).length === 2)
    expect((await messagesOf(alice, roomId)).map(({ body }) => body).toSorted()).toEqual([
      'said after the second start',
      'said before the members were here',
    ])
  }, 180_000)
})
