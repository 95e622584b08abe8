import { beforeAll, describe, expect, it } from '@jest/globals'
import { DeviceLists } from '../../src/accounts/device-lists.js'
import { silentLogger } from '../../src/logger.js'
import { ProfileChanges } from '../../src/room/profile-changes.js'
import { insertAccount } from '../../src/store/accounts.js'
import { noteDeviceListChange } from '../../src/store/device-lists.js'
import { setProfileField, untoldProfiles } from '../../src/store/profiles.js'
import { leftOverConfig, tellLeftOver } from '../../src/workers/left-over.js'
import { testDatabase } from '../support/postgres.js'
import { join, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const { db } = database
const [alice, bob] = [user('alice'), user('bob')]

beforeAll(async () => {
  for (const userId of [alice, bob]) {
    const account = { userId, passwordHash: undefined, isAdmin: false }
    await db.transaction().execute((trx) => insertAccount(trx, account, 0))
  }
})

const start = async () => {
  const engine = await testRooms(database)
  const profileChanges = new ProfileChanges({ db, rooms: engine.rooms, logger: silentLogger })
  const deviceLists = new DeviceLists(db, engine.writer)
  const round = (now: number) =>
    tellLeftOver(
      { db, deviceLists, profileChanges, waitingReceipts: { takeOverdue }, logger: silentLogger, now: () => now },
      leftOverConfig,
    )
  return { engine, profileChanges, round }
}

const takeOverdue = () => Promise.resolve()

const setName = (userId: string, name: string) =>
  db.transaction().execute((trx) => setProfileField(trx, userId, 'displayname', name))

describe('what a process that died has left over', () => {
  it('is told: a change of devices, once its request had time to tell of it', async () => {
    const { engine, round } = await start()
    await db.transaction().execute((trx) => noteDeviceListChange(trx, alice, 1_000))
    const before = engine.log.published
    await round(1_000 + leftOverConfig.patience)
    expect(engine.log.deviceListChanges(before)).toEqual([])
    await round(1_001 + leftOverConfig.patience)
    expect(engine.log.deviceListChanges(before)).toMatchObject([{ user: alice }])
    expect(await db.selectFrom('untold_device_list').selectAll().execute()).toEqual([])
    await engine.close()
  })

  it('is told: a name, to the rooms that do not have it', async () => {
    const { engine, round } = await start()
    const rooms = [await testRoom(engine, alice), await testRoom(engine, alice)]
    await setName(alice, 'Alice')
    await round(0)
    const members = () => Promise.all(rooms.map((room) => engine.rooms.currentState(room, 'm.room.member', alice)))
    const told = await members()
    expect(told.map((event) => event?.event.content['displayname'])).toEqual(['Alice', 'Alice'])
    expect(await untoldProfiles(db, 10)).toEqual([])
    await round(0)
    expect(await members()).toEqual(told)
    await engine.close()
  })
})

describe('telling rooms of a profile', () => {
  it('ends with the newest name everywhere when many changes come at once, from two processes', async () => {
    const [one, two] = [await start(), await start()]
    const room = await testRoom(one.engine, alice)
    await join(one.engine, room, bob)
    await two.engine.writer.catchUp()
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        await setName(bob, `Bob ${i}`)
        await (i % 2 === 0 ? one : two).profileChanges.tell(bob)
      }),
    )
    const { displayname } = await db
      .selectFrom('profile')
      .select('displayname')
      .where('user_id', '=', bob)
      .executeTakeFirstOrThrow()
    await one.engine.writer.catchUp()
    const member = await one.engine.rooms.currentState(room, 'm.room.member', bob)
    expect(member?.event.content['displayname']).toBe(displayname)
    expect(await untoldProfiles(db, 10)).toEqual([])
    await one.engine.close()
    await two.engine.close()
  })

  it('ends early when the server stops, and leaves the rest over', async () => {
    const { engine, profileChanges, round } = await start()
    const room = await testRoom(engine, alice)
    await setName(alice, 'Alicia')
    await profileChanges.close()
    await profileChanges.tell(alice)
    expect(await untoldProfiles(db, 10)).toEqual([alice])
    await round(0)
    expect(await untoldProfiles(db, 10)).toEqual([alice])
    const next = await start()
    await next.round(0)
    const member = await next.engine.rooms.currentState(room, 'm.room.member', alice)
    expect(member?.event.content['displayname']).toBe('Alicia')
    await engine.close()
    await next.engine.close()
  })
})
