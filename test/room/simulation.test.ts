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

it.each(['1', '2', '12'])('a seed gives the same room of version %s each time, down to the ids', async (version) => {
  const [first, again] = await Promise.all([roomOf(version), roomOf(version)])
  expect(again).toEqual(first)
})

/** On servers that had no room before. */
async function roomOf(version: string): Promise<Report> {
  const servers = await openServers(2)
  try {
    const options = { seed: 3, version, events: 20, oracle: false, rogue: true }
    for await (const report of simulateAll(servers, [options], 1)) return report
    throw new Error('no room was simulated')
  } finally {
    await servers.close()
  }
}
