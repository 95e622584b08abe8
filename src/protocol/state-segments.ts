import type { StateReference } from './numbers.js'

/**
 * Where the nodes of state tries are kept. All nodes that one write makes are packed into few segments, rows of
 * `(room, segment, body)`, because a row costs more than a node. A node is referred to by segment and slot.
 *
 * A body is the nodes one after the other, then a table of where each begins (16 bits a slot, the first slot last), then
 * one byte with the number of slots less one. A node is found without looking at the others. Bodies never change.
 */

/** What a row of Postgres holds without TOAST, with room for its other columns. */
export const MAX_SEGMENT_BYTES = 1_900
export const MAX_SEGMENT_SLOTS = 256
/** Segments are numbered from here, so that reference 0 can mean the state without entries. */
export const FIRST_SEGMENT = 1

/** The segments of one room. */
export interface Segments {
  /** The body of a segment when it is at hand; it may be forgotten at any time. */
  get(segment: number): Uint8Array | undefined
  /** 32 secret bytes, the same for the life of a database: identities of states are sums of hashes keyed with them. */
  readonly identityKey: Uint8Array
}

export const segmentOf = (reference: number): number => Math.floor(reference / MAX_SEGMENT_SLOTS)

/** The offset at which a node begins in the body of its segment. */
export function nodeOffset(body: Uint8Array, reference: number): number {
  const slot = reference % MAX_SEGMENT_SLOTS
  const end = body.length - 1
  if (slot > body[end]!) throw new Error(`state reference ${reference}: its segment has only ${body[end]! + 1} nodes`)
  const entry = end - 2 * (slot + 1)
  return (body[entry]! << 8) | body[entry + 1]!
}

interface ClosedSegment {
  segment: number
  body: Uint8Array
}

/**
 * Collects new nodes into segments. Reads pass through it to `base`, and find what is not yet taken as well: changes can
 * build on changes that nobody has stored.
 *
 * Segments from `nextSegment` on must be free. Two packers that started from the same number collide in the key of the
 * segments' table, and the later one's work has to be done again.
 */
export class SegmentPacker implements Segments {
  readonly identityKey: Uint8Array
  readonly #base: Segments
  #nextSegment: number
  readonly #closed = new Map<number, Uint8Array>()
  /** Laid out as a body whose nodes and table have a gap between them, so that it can be read while it fills. */
  readonly #open = new Uint8Array(MAX_SEGMENT_BYTES)
  #openSegment = 0
  #slots = 0
  #nodeBytes = 0

  constructor(nextSegment: number, base: Segments) {
    if (nextSegment < FIRST_SEGMENT) throw new RangeError(`segments are numbered from ${FIRST_SEGMENT}`)
    this.#nextSegment = nextSegment
    this.#base = base
    this.identityKey = base.identityKey
  }

  /** The number that the next segment to be opened will have: what a room's head records after {@link take}. */
  get nextSegment(): number {
    return this.#nextSegment
  }

  /** What is answered for a segment still open changes with the next {@link add}: read it, do not keep it. */
  get(segment: number): Uint8Array | undefined {
    if (this.#slots > 0 && segment === this.#openSegment) return this.#open
    return this.#closed.get(segment) ?? this.#base.get(segment)
  }

  /** Copies the first `length` bytes of a node. A node is far smaller than a segment. */
  add(node: Uint8Array, length: number = node.length): StateReference {
    if (this.#slots === MAX_SEGMENT_SLOTS || this.#size() + length + 2 > MAX_SEGMENT_BYTES) this.#close()
    if (this.#slots === 0) this.#openSegment = this.#nextSegment++
    const slot = this.#slots++
    for (let i = 0; i < length; i++) this.#open[this.#nodeBytes + i] = node[i]!
    const entry = MAX_SEGMENT_BYTES - 1 - 2 * (slot + 1)
    this.#open[entry] = this.#nodeBytes >> 8
    this.#open[entry + 1] = this.#nodeBytes & 0xff
    this.#open[MAX_SEGMENT_BYTES - 1] = slot
    this.#nodeBytes += length
    return (this.#openSegment * MAX_SEGMENT_SLOTS + slot) as StateReference
  }

  /** Closes the open segment and hands out all segments since the last call, which from now on `base` has to answer. */
  take(): ClosedSegment[] {
    this.#close()
    const taken = Array.from(this.#closed, ([segment, body]) => ({ segment, body }))
    this.#closed.clear()
    return taken
  }

  #size(): number {
    return this.#nodeBytes + 2 * this.#slots + 1
  }

  #close(): void {
    if (this.#slots === 0) return
    const size = this.#size()
    const body = new Uint8Array(size)
    body.set(this.#open.subarray(0, this.#nodeBytes))
    body.set(this.#open.subarray(MAX_SEGMENT_BYTES - (size - this.#nodeBytes)), this.#nodeBytes)
    this.#closed.set(this.#openSegment, body)
    this.#slots = 0
    this.#nodeBytes = 0
  }
}
