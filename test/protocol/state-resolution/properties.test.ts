import { afterAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { roomVersionNames } from '../../../src/protocol/room-versions.js'
import { authChain, authDifference, separate, type NaiveState } from './naive.js'
import type { PlainRoom } from './plain-room.js'
import { play, script, type Script } from './random-room.js'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env['RUNS'] ?? 60)
console.info(`state resolution: SEED=${seed}`)

/** What the generated rooms had in them: a property that never met the case it is there for says nothing. */
const met = {
  merges: 0,
  conflicts: 0,
  authDifferences: 0,
  differingFromAll: 0,
  reachedByUnconflicted: 0,
}

const sorted = (state: NaiveState) => [...state].sort(([a], [b]) => (a < b ? -1 : 1))

function count(room: PlainRoom, states: readonly NaiveState[], resolved: NaiveState): void {
  const { unconflicted, conflicted } = separate(states)
  met.merges++
  if (conflicted.size === 0) return
  met.conflicts++
  const difference = authDifference(states, room.get)
  if (difference.size > 0) met.authDifferences++
  if (states.every((state) => sorted(state).join() !== sorted(resolved).join())) met.differingFromAll++
  if (isReachedByUnconflicted(room, states, unconflicted, difference)) met.reachedByUnconflicted++
}

/** A difference of the auth chains of the conflicted events alone would have more in it. */
function isReachedByUnconflicted(
  room: PlainRoom,
  states: readonly NaiveState[],
  unconflicted: NaiveState,
  difference: ReadonlySet<string>,
): boolean {
  const parts = states.map((state) => new Map([...state].filter(([key]) => !unconflicted.has(key))))
  const candidates = authDifference(parts, room.get)
  const reached = new Set([...unconflicted.values()].flatMap((id) => [id, ...authChain(id, room.get)]))
  const removed = [...candidates].filter((id) => !difference.has(id))
  expect(removed.every((id) => reached.has(id))).toBe(true)
  return removed.length > 0
}

const shuffled = <T>(items: readonly T[], by: number): T[] =>
  items
    .map((item, index) => ({ item, at: ((index + 1) * (2 * by + 7919)) % 104_729 }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)

describe.each(roomVersionNames)('state resolution of room version %s', (version) => {
  const forAll = (check: (script: Script) => void) =>
    fc.assert(fc.property(script, check), { seed, numRuns: runs, endOnFailure: false })

  it('comes to what the naive resolver comes to', () => {
    forAll((script) =>
      play(version, script, (room, states) => {
        const expected = room.naively(states)
        count(room, states, expected)
        expect(sorted(room.resolve(states))).toEqual(sorted(expected))
        return expected
      }),
    )
  })

  it('depends neither on the order of the states nor on the numbers of the events', () => {
    let by = 0
    forAll((script) =>
      play(version, script, (room, states) => {
        const resolved = room.resolve(states)
        by++
        expect(sorted(room.resolve(shuffled(states, by), shuffled(room.ids, by)))).toEqual(sorted(resolved))
        return resolved
      }),
    )
  })
})

it('comes to the same in version 12, whichever way the auth chains of power events are read', () => {
  const check = (script: Script) =>
    play('12', script, (room, states) => {
      const resolved = room.naively(states, 'through-the-set')
      expect(sorted(resolved)).toEqual(sorted(room.naively(states, 'whole-chain')))
      return resolved
    })
  fc.assert(fc.property(script, check), { seed, numRuns: runs })
})

describe('the rooms that were generated', () => {
  afterAll(() => console.info('state resolution:', met))

  it('had every case in them', () => {
    expect(Object.entries(met).filter(([, times]) => times === 0)).toEqual([])
  })
})
