/**
 * How far garbage may pile up beside what is alive. Caches are bounded by CACHE_MB, but V8 left alone collects the old
 * generation late, when it is up to four times what was alive, and it keeps the memory for as long as nothing happens.
 *
 * Measured (Node 20, CACHE_MB=256), resident memory:
 * - 100 rooms of 10,000 members in use, the lists of all members read one after the other: up to 660 MB as V8 has it, up
 *   to 410 MB so, and 220 MB a few seconds later. Alive are 85 MB of heap.
 * - 5,000 long polls, opened and closed five times: 47 KB for each that is held the third time as V8 has it, 23 KB by
 *   growing less, 13 KB with collections in quiet moments.
 * - a process that has just started: 127 MB as V8 has it, 92 MB after twenty seconds: a collection also wakes V8's own
 *   memory reducer, which sleeps as long as there was none.
 *
 * Growing by 100 % costs `send` up to 5 % of CPU; by 50 % it cost more than was saved.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** The old generation is collected when it is twice what was alive the last time. V8 looks at this in every collection. */
const GROWING = '--heap-growing-percent=100'

const PERIOD_MS = 2_000
/** Share of one core below which a period was quiet. */
const QUIET = 0.05
const MB = 1024 * 1024
/** A collection stops everything for some 2.5 ms per MB alive. It has to be worth it, and nobody may notice. */
const WORTHWHILE_BYTES = 32 * MB
const WORTHWHILE_SHARE = 0.5
const MOST_ALIVE_BYTES = 256 * MB

/** For the life of the process. */
export function keepGarbageSmall(): void {
  setFlagsFromString(GROWING)
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const moments = new QuietMoments(
    () => collectAndCompact(gc),
    () => getHeapStatistics().used_heap_size,
  )
  let before = process.cpuUsage()
  setInterval(() => {
    const { user, system } = process.cpuUsage(before)
    before = process.cpuUsage()
    moments.after((user + system) / 1_000 / PERIOD_MS)
  }, PERIOD_MS).unref()
}

/**
 * Not by `HeapProfiler.collectGarbage` of `node:inspector`, which gives back more: ending its session was seen to stop the
 * process for good.
 *
 * `gc` without arguments is a full collection in every version of V8. Pages that are not quite empty would stay.
 */
function collectAndCompact(gc: () => void): void {
  setFlagsFromString('--compact-on-every-full-gc')
  gc()
  setFlagsFromString('--no-compact-on-every-full-gc')
}

/** Collects when there is little else to do and enough has come since the last time. */
export class QuietMoments {
  /** undefined: never collected. Starting leaves as much behind as it needs, so the first moment is always used. */
  #alive: number | undefined

  constructor(
    private readonly collect: () => void,
    /** Bytes of the heap in use, garbage among them. */
    private readonly used: () => number,
  ) {}

  /** `busy`: the share of a core that the process used in the last period. */
  after(busy: number): void {
    if (busy > QUIET || !this.isWorthwhile()) return
    this.collect()
    this.#alive = this.used()
  }

  private isWorthwhile(): boolean {
    if (this.#alive === undefined) return true
    const used = this.used()
    // V8 may have collected by itself.
    this.#alive = Math.min(this.#alive, used)
    if (this.#alive > MOST_ALIVE_BYTES) return false
    return used - this.#alive >= Math.max(WORTHWHILE_BYTES, this.#alive * WORTHWHILE_SHARE)
  }
}
