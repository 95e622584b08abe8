import { afterAll, describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { complaintOf, openServers, simulateAll } from '../support/simulator/run.js'

/** More of them: `npm run simulate`. */
const seedsOfEachVersion = 4

const servers = await openServers(3)
afterAll(() => servers.close())

describe.each(roomVersionNames)('three servers in rooms of version %s', (version) => {
  it('agree in the end, whatever the network did, and with the naive resolver', async () => {
    const rooms = Array.from({ length: seedsOfEachVersion }, (_, index) => index + 1).map((seed) => ({
      seed,
      version,
      events: 60,
      oracle: true,
      rogue: seed % 4 !== 0,
    }))
    const complaints: string[] = []
    for await (const report of simulateAll(servers, rooms, rooms.length)) complaints.push(complaintOf(report) ?? '')
    expect(complaints.filter((complaint) => complaint !== '')).toEqual([])
  })
})
