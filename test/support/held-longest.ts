import { readFileSync } from 'node:fs'

/**
 * How long nothing else could happen in this process, at most, in ms: by the processor time of its main thread where the
 * system tells it, so that what other processes do to a busy machine does not count.
 */
export function heldLongest(): () => number {
  let longest = 0
  let last = spent()
  const timer = setInterval(() => {
    const now = spent()
    longest = Math.max(longest, now - last)
    last = now
  }, 2)
  return () => {
    clearInterval(timer)
    return Math.round(longest)
  }
}

function spent(): number {
  try {
    const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')
    return Number(nanoseconds) / 1e6
  } catch {
    return performance.now()
  }
}
