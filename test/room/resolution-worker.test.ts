import { afterAll, expect, it } from '@jest/globals'
import type { EventNumber } from '../../src/protocol/numbers.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { stateMapKey } from '../../src/protocol/state-resolution/index.js'
import { ResolutionTooCostly } from '../../src/room/resolution/limits.js'
import { ResolutionWorker, type PlainSets } from '../../src/room/resolution/worker.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { alice, labRoom, type Branch } from '../support/laboratory/index.js'

const worker = new ResolutionWorker()
afterAll(() => worker.close())
const rules = rulesOf('11')!

/** Two topics for each of so many keys, of which the later stands. */
function conflictsIn(room: Branch, count: number): { sets: PlainSets; events: Map<EventNumber, StoredEvent> } {
  const base = [...room.events]
  for (const side of [1, 2]) {
    for (let key = 0; key < count; key++) {
      room.attempt(alice, { type: 'org.example.state', stateKey: `${key}`, content: { side } })
    }
  }
  const numbers = new Map(room.events.map(({ eventId }, i) => [eventId, i as EventNumber]))
  const events = new Map(
    room.events.map(({ event, text }, i) => {
      const authEvents = event.authEvents.map((id) => numbers.get(id)!)
      return [i as EventNumber, { number: i, event, text, authEvents, fate: 'accepted' } as unknown as StoredEvent]
    }),
  )
  const conflicted = [...events.keys()].slice(base.length)
  const unconflicted = new Map(base.map(({ event }, i) => [stateMapKey(event.type, event.stateKey!), i as EventNumber]))
  const none: ReadonlySet<EventNumber> = new Set()
  const sets = { unconflicted, conflicted, authDifference: none, conflictedSubgraph: none, create: undefined }
  return { sets, events }
}

it('a long resolution ends at its limit of steps, and those that wait behind it do not fail for it', async () => {
  const [long, other] = [conflictsIn(labRoom(), 200), conflictsIn(labRoom(), 160)]
  const results = await Promise.allSettled([
    worker.resolve(rules, long.sets, long.events, 500),
    worker.resolve(rules, other.sets, other.events, 1_000_000),
    worker.resolve(rules, long.sets, long.events, 1_000_000),
  ])
  expect(results[0]).toMatchObject({ status: 'rejected' })
  expect((results[0] as PromiseRejectedResult).reason).toBeInstanceOf(ResolutionTooCostly)
  expect(results.slice(1).map((result) => result.status === 'fulfilled' && result.value.size)).toEqual([160, 200])
})

it('a short one, too, ends at its limit', async () => {
  const { sets, events } = conflictsIn(labRoom(), 10)
  await expect(worker.resolve(rules, sets, events, 20)).rejects.toBeInstanceOf(ResolutionTooCostly)
  await expect(worker.resolve(rules, sets, events, 10_000)).resolves.toHaveProperty('size', 10)
})
