import { sql } from 'kysely'
import type { Arrival } from '../../src/room/arrival.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { MadeDatabase } from '../../test/support/make-database.js'
import { version } from './events.js'

export interface Costs {
  readonly engine: RoomEngine
  readonly database: MadeDatabase
}

/** All of them are accepted, in batches as an inbound worker hands them over. */
export async function take(
  { engine }: Costs,
  name: RoomName,
  arrivals: readonly Arrival[],
  batch = 200,
): Promise<void> {
  for (let i = 0; i < arrivals.length; i += batch) {
    for (const result of await engine.rooms.receiveAll(name, arrivals.slice(i, i + batch))) {
      if (result.status === 'rejected') throw result.reason
      if (result.value.event.fate === 'rejected') throw new Error(result.value.event.reason)
    }
  }
}

export const adopt = ({ engine }: Costs, [create]: readonly Arrival[]): Promise<RoomName> =>
  engine.rooms.adopt(create!, version)

export async function timed(task: () => Promise<void>): Promise<number> {
  const before = performance.now()
  await task()
  return performance.now() - before
}

/** What autovacuum does within a minute of a database that grows from nothing: plans made on empty tables are made anew. */
export const settle = ({ database }: Costs) => sql`analyze`.execute(database.db)
