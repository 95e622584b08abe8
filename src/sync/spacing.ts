/**
 * How long after an answer a device gets the next one, in ms, however busy its rooms are: what happens meanwhile goes into
 * one answer. The first news after a quiet moment is never held back by it.
 *
 * An answer costs about as much as a send. A process that has time gives each device forty answers a second, more than
 * anybody can see; one that is busy has fewer, larger ones, so that the sends come first.
 */
import { performance, type EventLoopUtilization } from 'node:perf_hooks'

const shortest = 25
const longest = 250
/**
 * Of the time that the event loop is busy: up to the first all is short, from the second on all is long. Where Postgres is
 * on the same cores, a process that has no time left still waits for it a tenth of the time and more.
 */
const easy = 0.5
const busy = 0.8
/** How often the event loop is looked at, in ms. */
const interval = 200

export class Spacing {
  private since: EventLoopUtilization = performance.eventLoopUtilization()
  private lookedAt = performance.now()
  private spacing = shortest

  now(): number {
    const time = performance.now()
    if (time - this.lookedAt >= interval) {
      const { utilization } = performance.eventLoopUtilization(this.since)
      this.since = performance.eventLoopUtilization()
      this.lookedAt = time
      this.spacing = spacingAt(utilization)
    }
    return this.spacing
  }
}

export function spacingAt(utilization: number): number {
  const part = Math.min(1, Math.max(0, (utilization - easy) / (busy - easy)))
  return shortest + part * (longest - shortest)
}
