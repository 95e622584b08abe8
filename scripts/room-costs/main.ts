/**
 * `npm run room-costs`: what the room engine costs on rooms that are large or made to hurt, straight on a Postgres of the
 * tests, without HTTP.
 *
 *     npm run room-costs                   all of it
 *     npm run room-costs -- storage        only what the name begins with
 */
import { loadavg } from 'node:os'
import { makeDatabase } from '../../test/support/make-database.js'
import { testRooms } from '../../test/support/rooms.js'
import { startTestPostgres } from '../../test/support/test-cluster.js'
import { healing, largeRoom, manyConflicts } from './resolution.js'
import { forkAndMerge } from './storage.js'
import type { Costs } from './costs.js'

const measurements: Readonly<Record<string, (costs: Costs) => Promise<string>>> = {
  'resolution: two branches of 1,000 conflicts': manyConflicts,
  'resolution: two branches of 1,000 events as they come': healing,
  'resolution: 100 conflicts among 50,000 members': largeRoom,
  'storage: a fork and a merge every 10 events': forkAndMerge,
}

const wanted = process.argv.slice(2)
const names = Object.keys(measurements)
const unknown = wanted.find((prefix) => !names.some((name) => name.startsWith(prefix)))
if (unknown !== undefined) {
  console.error([`Nothing that is measured begins with "${unknown}". There are:`, ...names].join('\n  '))
  process.exit(2)
}
const cluster = await startTestPostgres()
for (const [name, measure] of Object.entries(measurements)) {
  if (wanted.length > 0 && !wanted.some((prefix) => name.startsWith(prefix))) continue
  const database = await makeDatabase()
  const engine = await testRooms(database, { cacheMb: 256 })
  const figure = await measure({ engine, database })
  console.log(`${name.padEnd(56)} ${figure}   (load ${loadavg()[0]!.toFixed(1)})`)
  await engine.close()
  await database.drop()
}
await cluster.stop()
