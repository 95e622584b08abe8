import { readFileSync } from 'node:fs'

/**
 * What this process' main thread has worked, in ms, where the system tells it; elsewhere the time. A bound on work counts
 * nothing that other processes do to a busy machine.
 */
export function processorTime(): number {
  try {
    const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')
    return Number(nanoseconds) / 1e6
  } catch {
    return performance.now()
  }
}
