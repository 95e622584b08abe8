import { processorTime } from './processor-time.js'

/** How long nothing else could happen in this process, at most, in ms of its main thread's processor time. */
export function heldLongest(): () => number {
  let longest = 0
  let last = processorTime()
  const timer = setInterval(() => {
    const now = processorTime()
    longest = Math.max(longest, now - last)
    last = now
  }, 2)
  return () => {
    clearInterval(timer)
    return Math.round(longest)
  }
}
