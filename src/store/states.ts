/**
 * Reading states: the trie of src/protocol/state-trie.ts over the segments of a room, which are fetched as the work asks
 * for them, one statement a step, and kept in memory.
 */
import { sql, type Kysely } from 'kysely'
import type { RoomNumber } from '../protocol/numbers.js'
import type { Segments, TrieWork } from '../protocol/state-trie.js'
import type { LogTables } from './log-tables.js'
import { segmentKey, type Memory } from './memory.js'

export class States {
  constructor(
    private readonly db: Kysely<LogTables>,
    private readonly memory: Memory,
    /** A secret of this database: identities of states cannot be steered from outside. */
    readonly identityKey: Uint8Array,
  ) {}

  /** The committed segments of a room. What is not in memory is fetched by `work`. */
  segments(room: RoomNumber): Segments {
    const { segments } = this.memory
    return { identityKey: this.identityKey, get: (segment) => segments.get(segmentKey(room, segment)) }
  }

  remember(room: RoomNumber, segment: number, body: Uint8Array): void {
    this.memory.segments.set(segmentKey(room, segment), body)
  }

  /**
   * Does a piece of work on a trie of the room. Segments it asks for are held until it ends, so that a small cache makes
   * it slower and never stuck. Without a miss nothing is awaited in here but the result.
   */
  async work<T>(room: RoomNumber, make: (segments: Segments) => TrieWork<T>): Promise<T> {
    const held = new Map<number, Uint8Array>()
    const committed = this.segments(room)
    const segments: Segments = {
      identityKey: this.identityKey,
      get: (segment) => held.get(segment) ?? committed.get(segment),
    }
    const work = make(segments)
    for (;;) {
      const step = work.next()
      if (step.done === true) return step.value
      await this.load(room, step.value, held)
    }
  }

  async load(room: RoomNumber, wanted: readonly number[], into: Map<number, Uint8Array>): Promise<void> {
    const { rows } = await sql<{ segment: number; body: Buffer }>`
      select segment, body from state_segment where room = ${room} and segment = any(${[...wanted]}::bigint[])
    `.execute(this.db)
    for (const { segment, body } of rows) {
      // A Buffer may be a slice of a larger piece of memory, and would keep all of that.
      const own = new Uint8Array(body)
      into.set(segment, own)
      this.remember(room, segment, own)
    }
    if (rows.length < new Set(wanted).size) {
      throw new Error(`state segments of room ${room} are missing: wanted ${wanted.join(', ')}`)
    }
  }
}
