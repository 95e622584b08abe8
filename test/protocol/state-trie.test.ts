import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { EventNumber, StateKeyNumber, StateReference } from '../../src/protocol/numbers.js'
import {
  change,
  difference,
  emptyState,
  entries,
  entriesBeside,
  identityOf,
  lookUp,
  lookUpMany,
  MAX_SEGMENT_BYTES,
  MAX_SEGMENT_SLOTS,
  run,
  SegmentPacker,
  segmentOf,
  sizeOf,
  type Segments,
  type StateChange,
  type TrieWork,
} from '../../src/protocol/state-trie.js'

const key = (value: number) => value as StateKeyNumber
const event = (value: number) => value as EventNumber

const identityKey = new Uint8Array(32).fill(7)
const noSegments: Segments = { get: () => undefined, identityKey }

/** A room whose segments are stored as soon as they are made, as the database hands them back: as Buffers. */
class StoredRoom implements Segments {
  readonly identityKey = identityKey
  readonly segments = new Map<number, Uint8Array>()
  readonly packer = new SegmentPacker(1, this)

  get(segment: number): Uint8Array | undefined {
    return this.segments.get(segment)
  }

  flush(): void {
    for (const { segment, body } of this.packer.take()) this.segments.set(segment, Buffer.from(body))
  }

  change(root: StateReference, changes: readonly StateChange[]): StateReference {
    return run(change(this.packer, root, changes))
  }
}

/** Has at hand only what was asked for in the last yield. */
class ForgetfulSegments implements Segments {
  readonly identityKey = identityKey
  #atHand = new Map<number, Uint8Array>()
  yields = 0

  constructor(private readonly stored: ReadonlyMap<number, Uint8Array>) {}

  get(segment: number): Uint8Array | undefined {
    return this.#atHand.get(segment)
  }

  drive<T>(work: TrieWork<T>): T {
    for (let step = work.next(); ; step = work.next()) {
      if (step.done === true) return step.value
      this.yields++
      this.#atHand = new Map(step.value.map((segment) => [segment, this.stored.get(segment)!]))
    }
  }
}

type Model = Map<number, number>

const modelOf = (changes: readonly StateChange[], before: Model = new Map()): Model => {
  const model = new Map(before)
  for (const [k, v] of changes) {
    if (v === undefined) model.delete(k)
    else model.set(k, v)
  }
  return model
}

const sorted = (list: Iterable<readonly [number, number]>) => Array.from(list).sort((a, b) => a[0] - b[0])

const modelDifference = (before: Model, after: Model) =>
  sorted(Array.from(new Set([...before.keys(), ...after.keys()]), (k) => [k, 0] as const))
    .map(([k]) => ({ key: k, before: before.get(k), after: after.get(k) }))
    .filter((d) => d.before !== d.after)

/** Few keys, so that they are changed again and deleted; now and then any key there can be. */
const anyKey = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 2 ** 32 - 1 }) },
)
const anyEvent = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 2 ** 40 - 1 }))
const anyChange = fc.tuple(anyKey.map(key), fc.option(anyEvent.map(event), { nil: undefined, freq: 2 }))
const anyBatches = fc.array(fc.array(anyChange, { maxLength: 120 }), { maxLength: 8 })
const settings = { seed: 20261124, numRuns: 300 }

const rangeOf = (from: number, to: number): StateChange[] =>
  Array.from({ length: to - from }, (_, i) => [key(from + i), event(1_000_000 + from + i)])

describe('a state', () => {
  it('answers as a Map does after any sets and deletions', () => {
    fc.assert(
      fc.property(anyBatches, (batches) => {
        const room = new StoredRoom()
        let root = emptyState
        let model: Model = new Map()
        for (const batch of batches) {
          root = room.change(root, batch)
          model = modelOf(batch, model)
          if (batch.length % 2 === 0) room.flush()
          expect(sorted(run(entries(room.packer, root)))).toEqual(sorted(model))
          expect(run(sizeOf(room.packer, root))).toBe(model.size)
        }
        const keys = [...model.keys(), ...Array.from({ length: 30 }, (_, i) => i * 7)].map(key)
        for (const k of keys) expect(run(lookUp(room.packer, root, k))).toBe(model.get(k))
        expect(run(lookUpMany(room.packer, root, keys))).toEqual(
          new Map(keys.filter((k) => model.has(k)).map((k) => [k, model.get(k)])),
        )
      }),
      settings,
    )
  })

  it('stays as it was when others are made from it', () => {
    fc.assert(
      fc.property(anyBatches, (batches) => {
        const room = new StoredRoom()
        const made: { root: StateReference; model: Model }[] = [{ root: emptyState, model: new Map() }]
        for (const [i, batch] of batches.entries()) {
          const from = made[(i * 7) % made.length]!
          made.push({ root: room.change(from.root, batch), model: modelOf(batch, from.model) })
          room.flush()
        }
        for (const { root, model } of made) expect(sorted(run(entries(room, root)))).toEqual(sorted(model))
      }),
      settings,
    )
  })

  it('differs from another in the keys in which their Maps differ', () => {
    fc.assert(
      fc.property(anyBatches, anyBatches, (some, others) => {
        const room = new StoredRoom()
        const common = some[0] ?? []
        const trunk = room.change(emptyState, common)
        const [left, right] = [some.slice(1), others].map((branch) => branch.flat())
        const before = room.change(trunk, left!)
        const after = room.change(trunk, right!)
        const found = run(difference(room.packer, before, after))
        expect(found.sort((a, b) => a.key - b.key)).toEqual(
          modelDifference(modelOf([...common, ...left!]), modelOf([...common, ...right!])),
        )
      }),
      settings,
    )
  })

  it('keeps keys and events up to the largest', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, [
      [key(2 ** 32 - 1), event(2 ** 40 - 1)],
      [key(0), event(0)],
    ])
    expect(run(lookUp(room.packer, root, key(2 ** 32 - 1)))).toBe(2 ** 40 - 1)
    expect(run(lookUp(room.packer, root, key(0)))).toBe(0)
  })

  it.each([
    ['a key beyond 32 bits', 2 ** 32, 1],
    ['a negative key', -1, 1],
    ['an event beyond 40 bits', 1, 2 ** 40],
    ['an event that is no integer', 1, 0.5],
  ])('refuses %s', (_name, k, e) => {
    expect(() => new StoredRoom().change(emptyState, [[key(k), event(e)]])).toThrow(RangeError)
  })
})

describe('an identity', () => {
  it('is equal for equal content, whatever the order of changes and whatever was there in between', () => {
    fc.assert(
      fc.property(anyBatches, fc.infiniteStream(fc.nat()), (batches, numbers) => {
        const room = new StoredRoom()
        const oneByOne = batches.flat().reduce((root, c) => room.change(root, [c]), emptyState)
        const inBatches = batches.reduce((root, batch) => room.change(root, batch), emptyState)
        const shuffled = Array.from(modelOf(batches.flat()), (entry) => ({ entry, at: numbers.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ entry: [k, v] }): StateChange => [key(k), event(v)])
        const direct = shuffled.reduce((root, c) => room.change(root, [c]), emptyState)

        const [identity, ...others] = [oneByOne, inBatches, direct].map((root) => run(identityOf(room.packer, root)))
        expect(identity).toMatch(/^[0-9a-f]{32}$/)
        expect(others).toEqual([identity, identity])
        expect(run(difference(room.packer, oneByOne, direct))).toEqual([])
      }),
      settings,
    )
  })

  it('differs when content differs', () => {
    fc.assert(
      fc.property(fc.array(anyChange), fc.array(anyChange), (left, right) => {
        const room = new StoredRoom()
        const [a, b] = [left, right].map((changes) => run(identityOf(room.packer, room.change(emptyState, changes))))
        expect(a === b).toBe(modelDifference(modelOf(left), modelOf(right)).length === 0)
      }),
      settings,
    )
  })

  it('of nothing is zero, also after the last entry was deleted', () => {
    const room = new StoredRoom()
    const full = room.change(emptyState, rangeOf(0, 100))
    const empty = rangeOf(0, 100).reduce((root, [k]) => room.change(root, [[k, undefined]]), full)
    expect(empty).toBe(emptyState)
    expect(run(identityOf(room.packer, empty))).toBe('0'.repeat(32))
  })

  it('depends on the secret key', () => {
    const identities = [1, 2].map((fill) => {
      const packer = new SegmentPacker(1, { get: () => undefined, identityKey: new Uint8Array(32).fill(fill) })
      return run(identityOf(packer, run(change(packer, emptyState, rangeOf(0, 3)))))
    })
    expect(identities[0]).not.toBe(identities[1])
  })

  it('needs a key of 32 bytes', () => {
    const packer = new SegmentPacker(1, { get: () => undefined, identityKey: new Uint8Array(31) })
    expect(() => run(change(packer, emptyState, rangeOf(0, 1)))).toThrow('32 bytes')
  })
})

describe('a change', () => {
  it('that alters nothing gives the reference it began from and stores nothing', () => {
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 300 }), fc.array(anyKey.map(key)), (changes, keys) => {
        const room = new StoredRoom()
        const root = room.change(emptyState, changes)
        room.flush()
        const model = modelOf(changes)
        const same = keys.map((k): StateChange => [k, model.get(k) as EventNumber | undefined])
        expect(room.change(root, same)).toBe(root)
        expect(room.packer.take()).toEqual([])
      }),
      settings,
    )
  })

  it('of one key twice counts as the last says', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, rangeOf(0, 40))
    const again: StateChange[] = [
      [key(5), undefined],
      [key(5), event(1_000_005)],
    ]
    expect(room.change(root, again)).toBe(root)
    expect(run(lookUp(room.packer, room.change(root, again.slice().reverse()), key(5)))).toBeUndefined()
  })

  it('leaves as many nodes behind as the content needs, whatever was deleted before', () => {
    const nodesOf = (segments: Segments, root: StateReference): number => {
      let nodes = 0
      const counting: Segments = { identityKey, get: (segment) => (nodes++, segments.get(segment)) }
      run(entries(counting, root))
      return nodes
    }
    fc.assert(
      fc.property(anyBatches, (batches) => {
        const room = new StoredRoom()
        const grown = batches.reduce((root, batch) => room.change(root, batch), emptyState)
        const direct = room.change(emptyState, run(entries(room.packer, grown)))
        expect(nodesOf(room.packer, grown)).toBe(nodesOf(room.packer, direct))
      }),
      settings,
    )
  })

  it('makes one leaf of what is left of a large state', () => {
    const room = new StoredRoom()
    const grown = room.change(emptyState, rangeOf(0, 2_000))
    const seventeen = room.change(
      grown,
      rangeOf(17, 2_000).map(([k]) => [k, undefined]),
    )
    room.flush()
    room.change(seventeen, [[key(16), undefined]])
    // Header, identity, sixteen entries, and the table of the segment.
    expect(room.packer.take().map(({ body }) => body.length)).toEqual([1 + 16 + 16 * 9 + 3])
  })

  it('costs what it changes: under 250 bytes in a state of 10,000', () => {
    const room = new StoredRoom()
    let root = room.change(emptyState, rangeOf(0, 10_000))
    room.flush()
    let bytes = 0
    for (let i = 0; i < 500; i++) {
      root = room.change(root, [[key((i * 7_919) % 10_000), event(2_000_000 + i)]])
      for (const { segment, body } of room.packer.take()) {
        room.segments.set(segment, body)
        bytes += body.length
      }
    }
    expect(bytes / 500).toBeLessThan(250)
  })
})

describe('segments', () => {
  it('hold at most 1,900 bytes and 256 nodes each, are numbered without gaps and found where references say', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 170 }), { maxLength: 600 }), (nodes) => {
        const packer = new SegmentPacker(9, noSegments)
        const references = nodes.map((node) => packer.add(node))
        const taken = packer.take()
        expect(taken.map(({ segment }) => segment)).toEqual(taken.map((_, i) => 9 + i))
        expect(packer.nextSegment).toBe(9 + taken.length)
        for (const { body } of taken) {
          expect(body.length).toBeLessThanOrEqual(MAX_SEGMENT_BYTES)
          expect(body.at(-1)! + 1).toBeLessThanOrEqual(MAX_SEGMENT_SLOTS)
        }
        expect(new Set(references).size).toBe(nodes.length)
        expect(references.map(segmentOf)).toEqual(references.map(segmentOf).sort((a, b) => a - b))
      }),
      { ...settings, numRuns: 100 },
    )
  })

  it('hold 256 small nodes and not one more', () => {
    const packer = new SegmentPacker(1, noSegments)
    const references = Array.from({ length: 257 }, (_, i) => packer.add(Uint8Array.of(i & 0xff)))
    expect(references[255]).toBe(256 + 255)
    expect(references[256]).toBe(2 * 256)
    expect(packer.take().map(({ body }) => body.length)).toEqual([256 + 512 + 1, 1 + 2 + 1])
  })

  it('of a large state are bounded, and full where many nodes are made at once', () => {
    const room = new StoredRoom()
    room.change(emptyState, rangeOf(0, 20_000))
    const sizes = room.packer.take().map(({ body }) => body.length)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(MAX_SEGMENT_BYTES)
    expect(sizes.slice(0, -1).every((size) => size > MAX_SEGMENT_BYTES - 200)).toBe(true)
  })

  it('can be numbered far beyond 32 bits', () => {
    const packer = new SegmentPacker(2 ** 39, noSegments)
    const root = run(change(packer, emptyState, rangeOf(0, 500)))
    expect(segmentOf(root)).toBeGreaterThanOrEqual(2 ** 39)
    expect(run(entries(packer, root))).toHaveLength(500)
  })

  it('that are not yet taken, open or closed, can be read and built upon', () => {
    const packer = new SegmentPacker(1, noSegments)
    let root = emptyState
    for (const c of rangeOf(0, 300)) root = run(change(packer, root, [c]))
    expect(run(entries(packer, root))).toHaveLength(300)
    expect(packer.take().length).toBeGreaterThan(3)
    expect(packer.take()).toEqual([])
  })

  it('are never numbered 0, which is the empty state', () => {
    expect(() => new SegmentPacker(0, noSegments)).toThrow(RangeError)
  })
})

describe('cold work', () => {
  it('gives the same answers when everything is forgotten between two yields', () => {
    fc.assert(
      fc.property(anyBatches, fc.array(anyChange, { maxLength: 40 }), (batches, changes) => {
        const room = new StoredRoom()
        const root = batches.reduce((at, batch) => (room.flush(), room.change(at, batch)), emptyState)
        const other = room.change(root, changes)
        room.flush()
        const model = modelOf(batches.flat())
        const cold = () => new ForgetfulSegments(room.segments)

        let segments = cold()
        expect(sorted(segments.drive(entries(segments, root)))).toEqual(sorted(model))
        segments = cold()
        expect(segments.drive(sizeOf(segments, root))).toBe(model.size)
        segments = cold()
        expect(segments.drive(identityOf(segments, root))).toBe(run(identityOf(room, root)))
        const keys = changes.map(([k]) => k)
        segments = cold()
        expect(segments.drive(lookUpMany(segments, root, keys))).toEqual(run(lookUpMany(room, root, keys)))
        segments = cold()
        const beside = segments.drive(entriesBeside(segments, root, keys.slice(0, 5)))
        expect(beside.every(([one, value]) => model.get(one) === value)).toBe(true)
        expect(keys.slice(0, 5).every((k) => !model.has(k) || beside.some(([one]) => one === k))).toBe(true)
        for (const k of keys.slice(0, 5)) {
          segments = cold()
          expect(segments.drive(lookUp(segments, root, k))).toBe(model.get(k))
        }
        segments = cold()
        expect(segments.drive(difference(segments, root, other))).toEqual(run(difference(room, root, other)))

        segments = cold()
        const packer = new SegmentPacker(room.packer.nextSegment, segments)
        const changed = segments.drive(change(packer, root, changes))
        for (const { segment, body } of packer.take()) room.segments.set(segment, body)
        expect(run(identityOf(room, changed))).toBe(run(identityOf(room, other)))
        expect(run(entries(room, changed))).toEqual(run(entries(room, other)))
        expect(changed === root).toBe(other === root)
      }),
      settings,
    )
  })

  it('yields at most once per level, however many keys are asked for', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, rangeOf(0, 10_000))
    room.flush()
    const segments = new ForgetfulSegments(room.segments)
    const keys = Array.from({ length: 500 }, (_, i) => key(i * 20))
    expect(segments.drive(lookUpMany(segments, root, keys)).size).toBe(500)
    expect(segments.yields).toBeLessThanOrEqual(4)
  })

  it('yields nothing for the difference of a state from itself', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, rangeOf(0, 100))
    room.flush()
    const segments = new ForgetfulSegments(room.segments)
    expect(segments.drive(difference(segments, root, root))).toEqual([])
    expect(segments.yields).toBe(0)
  })

  it('reads only the roots of two states of equal identity', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, rangeOf(0, 5_000))
    const twin = room.change(room.change(root, [[key(3), event(9)]]), rangeOf(3, 4))
    room.flush()
    expect(twin).not.toBe(root)
    const segments = new ForgetfulSegments(room.segments)
    expect(segments.drive(difference(segments, root, twin))).toEqual([])
    expect(segments.yields).toBe(1)
  })

  it('reads a few nodes of two large states that differ in one key', () => {
    const room = new StoredRoom()
    const root = room.change(emptyState, rangeOf(0, 10_000))
    room.flush()
    const other = room.change(root, [[key(4_321), undefined]])
    room.flush()
    const asked: number[] = []
    const counting: Segments = {
      identityKey,
      get: (segment) => (asked.push(segment), room.get(segment)),
    }
    expect(run(difference(counting, root, other))).toEqual([{ key: 4_321, before: 1_004_321 }])
    expect(asked.length).toBeLessThanOrEqual(12)
  })

  it('fails when what it asked for is not there on resumption', () => {
    const work = lookUp(noSegments, (7 * 256) as StateReference, key(1))
    expect(work.next().value).toEqual([7])
    expect(() => work.next()).toThrow('state segment 7')
  })

  it('cannot be run to its end in one go', () => {
    expect(() => run(lookUp(noSegments, (7 * 256) as StateReference, key(1)))).toThrow('not at hand')
  })
})
