import { afterAll, describe, expect, it } from '@jest/globals'
import { lasting, reset, tableOf } from '../../src/command-line/federation.js'
import { destinationStatuses } from '../../src/store/destinations.js'
import { putEdus } from '../../src/store/federation-outbox.js'
import { sharedRoom, testSender } from '../federation/sender/peers.js'
import { mia } from '../support/inbound.js'
import { carol } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { say, testRooms } from '../support/rooms.js'

const database = await testDatabase()
const { db } = database
const engine = await testRooms(database)
const { sender, peers, clock, close } = testSender(database, engine)
afterAll(async () => {
  await close()
  await engine.close()
})

describe('hearth federation status', () => {
  it('shows who is behind, since when, why, and when they are asked next', async () => {
    peers.kill('two.example')
    const { room } = await sharedRoom(engine, [carol])
    await say(engine, room, mia, 'hello')
    await sender.settled()
    await putEdus(db, [{ destination: 'two.example', edu: '{}' }], clock.now())
    const [two, ...others] = await destinationStatuses(db)
    expect(others).toEqual([])
    expect(two).toMatchObject({ destination: 'two.example', rooms: 1, edus: 1, failures: 1, last_success_ts: null })
    expect(two!.in_flight).toMatch(/^[\w-]{20}$/)
    expect(tableOf([two!], two!.oldest_ts! + 61_000).split('\n')).toMatchObject([
      expect.stringMatching(/^destination +rooms +edus +behind +failures +next attempt/),
      expect.stringMatching(/^two\.example +1 +1 +1m +1 +- +never +0 +two\.example: is down$/),
      '',
    ])
    expect((await destinationStatuses(db, { all: true })).map(({ destination }) => destination)).toEqual([
      'two.example',
      'one.example',
    ])
  })

  it('says that there is nothing', () => {
    expect(tableOf([], 0)).toBe('Nothing waits to be sent, and no server fails.\n')
  })

  it.each([
    [0, '0s'],
    [59_400, '59s'],
    [60_000, '1m'],
    [7_199_000, '1h'],
    [86_400_000 * 12, '12d'],
    [-5, '0s'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(lasting(ms)).toBe(text)
  })

  it('does not write to the terminal what another server chose to', async () => {
    const [status] = await destinationStatuses(db)
    expect(tableOf([{ ...status!, last_error: '\u001b[2J\r\nall is well' }], 0)).not.toMatch(/\p{Cc}(?<!\n)/u)
  })
})

describe('hearth federation reset', () => {
  it('lets a server be tried again', async () => {
    expect(await reset(database, 'two.example', {})).toBe('two.example is tried again at once.')
    await sender.poll()
    await sender.settled()
    expect(peers.to('two.example')).toHaveLength(2)
    expect(await destinationStatuses(db)).toMatchObject([{ failures: 1 }])
  })

  it('gives up what waits for a server that is gone', async () => {
    expect(await reset(database, 'two.example', { forget: true })).toMatch(/is given up: 1 rooms and 1 EDUs/)
    expect(await destinationStatuses(db)).toEqual([])
    peers.revive('two.example')
    await sender.poll()
    await sender.settled()
    expect(peers.to('two.example')).toHaveLength(2)
  })

  it('says so when there is no such server', async () => {
    expect(await reset(database, 'tow.example', {})).toMatch(/^Nothing was ever sent to tow\.example/)
  })
})
