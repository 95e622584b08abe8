/** The walks of src/room/resolution over graphs by chance, against the definitions over full auth chains. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { EventNumber, StateKeyNumber } from '../../src/protocol/numbers.js'
import { candidates, reachedFrom } from '../../src/room/resolution/auth-difference.js'
import type { AuthGraph, Children } from '../../src/room/resolution/auth-graph.js'
import { conflictedSubgraph } from '../../src/room/resolution/conflicted-subgraph.js'
import { Budget, defaultLimits } from '../../src/room/resolution/limits.js'
import type { AuthChild } from '../../src/store/auth-chains.js'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env['RUNS'] ?? 4_000)
console.info(`auth difference: SEED=${seed}`)

/** An event by its number; each stands on events with smaller numbers. */
type Graph = readonly (readonly number[])[]

/** Stands on few, mostly near: chains of some length. */
const graphs: fc.Arbitrary<Graph> = fc
  .array(fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 15 })), { maxLength: 2 }), {
    minLength: 5,
    maxLength: 30,
  })
  .map((backs) => backs.map((back, number) => [...new Set(back.map((one) => number - one).filter((one) => one >= 0))]))

const chainOf = (graph: Graph, number: number, found = new Set<number>()): Set<number> => {
  for (const one of graph[number]!) if (!found.has(one)) chainOf(graph, one, found.add(one))
  return found
}
const chainsOf = (graph: Graph, numbers: readonly number[]): Set<number> =>
  new Set(numbers.flatMap((number) => [...chainOf(graph, number)]))

/** What the walks ask of an `AuthGraph`; it answers only for what was loaded. */
class GivenGraph {
  private readonly loaded = new Set<number>()
  private readonly depths: number[] = []

  constructor(
    private readonly graph: Graph,
    private readonly uncommitted: ReadonlySet<number> = new Set(),
  ) {
    for (const on of graph) this.depths.push(1 + Math.max(0, ...on.map((one) => this.depths[one]!)))
  }

  get(number: number) {
    if (!this.loaded.has(number)) throw new Error(`${number} was not loaded`)
    return { authEvents: this.graph[number]!, authDepth: this.depths[number]! }
  }

  async load(numbers: Iterable<number>): Promise<void> {
    for (const number of numbers) this.loaded.add(number)
  }

  async children(numbers: readonly number[], limit: number): Promise<Children> {
    const standingOn = (parent: number, isUncommitted: boolean) =>
      this.graph.flatMap((authEvents, event) =>
        authEvents.includes(parent) && this.uncommitted.has(event) === isUncommitted
          ? [childOf(event, authEvents)]
          : [],
      )
    const childrenOf = (parent: number) => [...standingOn(parent, false).slice(0, limit), ...standingOn(parent, true)]
    return {
      byParent: new Map(numbers.map((parent) => [parent as EventNumber, childrenOf(parent)])),
      cut: new Set(asNumbers(numbers.filter((parent) => standingOn(parent, false).length > limit))),
    }
  }
}

const childOf = (event: number, authEvents: readonly number[]) =>
  ({ event, stateKey: event as StateKeyNumber, authEvents }) as unknown as AuthChild

const asGraph = (graph: Graph, uncommitted?: ReadonlySet<number>) =>
  new GivenGraph(graph, uncommitted) as unknown as AuthGraph
const asNumbers = (numbers: readonly number[]) => numbers as EventNumber[]
const budget = () => new Budget(defaultLimits, () => 0)
const sorted = (numbers: Iterable<number>) => [...new Set(numbers)].sort((a, b) => a - b)

/** Some of the events of a graph. */
const picked = (graph: Graph, picks: readonly number[]) => sorted(picks.map((pick) => pick % graph.length))
const picks = fc.array(fc.nat(1_000), { maxLength: 5 })

describe('the auth difference', () => {
  it('is that of the full auth chains of whole states', async () => {
    const check = async (graph: Graph, common: number[], parts: number[][]) => {
      const entries = new Set(picked(graph, common.slice(0, 2)))
      const sets = parts.map((part) => picked(graph, part).filter((number) => !entries.has(number)))
      const chains = sets.map((set) => chainsOf(graph, [...entries, ...set]))
      const expected = sorted(chains.flatMap((chain) => [...chain])).filter(
        (number) => !chains.every((chain) => chain.has(number)),
      )

      const given = asGraph(graph)
      const found = await candidates(given, sets.map(asNumbers), budget())
      const entriesAmong = async (events: readonly AuthChild[]) => events.filter(({ event }) => entries.has(event))
      const some = asNumbers([...entries].slice(0, 1))
      const reached = await reachedFrom(given, found, some, entriesAmong, budget())
      expect(sorted(found).filter((number) => !reached.has(number as EventNumber))).toEqual(expected)
    }
    const states = fc.array(picks, { minLength: 2, maxLength: 5 })
    await fc.assert(fc.asyncProperty(graphs, picks, states, check), { seed, numRuns: runs })
  })

  it('knows that an entry reaches a candidate on a longer way than the one on which another was found', async () => {
    // Entry 6 stands on 5, and 5 on the candidate 1 and, through 4 and 3, on the candidate 2.
    const graph: Graph = [[], [0], [0], [2], [3], [1, 4], [5]]
    const given = asGraph(graph)
    await given.load(asNumbers([1, 2]))
    const entriesAmong = async (events: readonly AuthChild[]) => events.filter(({ event }) => event === 6)
    const reached = await reachedFrom(given, new Set(asNumbers([1, 2])), [], entriesAmong, budget())
    expect([1, 2].filter((number) => reached.has(number as EventNumber))).toEqual([1, 2])
  })

  it.each([15, 16, 17, 200])('finds the entry behind %i other events that stand on a candidate', async (others) => {
    const graph: Graph = [[], [0], ...Array.from({ length: others + 2 }, () => [1])]
    const given = asGraph(graph, new Set([2]))
    await given.load(asNumbers([1]))
    const entry = graph.length - 1
    const entriesAmong = async (events: readonly AuthChild[]) => events.filter(({ event }) => event === entry)
    expect(await reachedFrom(given, new Set(asNumbers([1])), [], entriesAmong, budget())).toContain(1)
  })

  it('does not look for what stands on a candidate that an entry at hand reaches', async () => {
    const graph: Graph = [[], [0], [1], [1]]
    const given = asGraph(graph)
    await given.load(asNumbers([1]))
    given.children = () => Promise.reject(new Error('looked for'))
    expect(await reachedFrom(given, new Set(asNumbers([1])), asNumbers([3]), async () => [], budget())).toContain(1)
  })
})

describe('the conflicted state subgraph', () => {
  it('is all that lies on a path between two conflicted events', async () => {
    const check = async (graph: Graph, some: number[]) => {
      const conflicted = picked(graph, some)
      const expected = conflicted.flatMap((start) => {
        const below = chainOf(graph, start)
        const ends = conflicted.filter((end) => below.has(end))
        const between = [...below].filter((number) => ends.some((end) => chainOf(graph, number).has(end)))
        return ends.length > 0 ? [start, ...ends, ...between] : []
      })
      const found = await conflictedSubgraph(asGraph(graph), new Set(asNumbers(conflicted)), budget())
      expect(sorted(found)).toEqual(sorted(expected))
    }
    await fc.assert(fc.asyncProperty(graphs, picks, check), { seed, numRuns: runs })
  })
})
