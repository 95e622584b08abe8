import { afterAll, describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { complaintOf, openServers, type Report, simulateAll } from '../support/simulator/run.js'

/** More of them: `npm run simulate`. The second is without the server that breaks the rules. */
const seeds = [1, 2]

const servers = await openServers(3)
afterAll(() => servers.close())

/** All at a time: rooms of all versions share commits. */
const rooms = roomVersionNames.flatMap((version) =>
  seeds.map((seed) => ({ seed, version, events: 40, oracle: true, rogue: seed === 1 })),
)

async function reportsByVersion(): Promise<Map<string, Report[]>> {
  const reports = new Map<string, Report[]>()
  for await (const report of simulateAll(servers, rooms, rooms.length)) {
    const { version } = 'outcome' in report ? report.outcome : report.options
    reports.set(version, [...(reports.get(version) ?? []), report])
  }
  return reports
}

const reports = await reportsByVersion()

describe.each(roomVersionNames)('three servers in rooms of version %s', (version) => {
  it('agree in the end, whatever the network did, and with the naive resolver', () => {
    const ofVersion = reports.get(version) ?? []
    expect(ofVersion).toHaveLength(seeds.length)
    expect(ofVersion.flatMap((report) => complaintOf(report) ?? [])).toEqual([])
  })
})
