import { describe, expect, it } from '@jest/globals'
import { isPauseDue, pause } from '../../src/store/pauses.js'

/** At least so long, in ms. */
function work(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Counts turns of the event loop. */
function turns(): { now: () => number; end: () => void } {
  let count = 0
  let isOver = false
  const next = () => {
    count++
    if (!isOver) setImmediate(next)
  }
  setImmediate(next)
  return { now: () => count, end: () => void (isOver = true) }
}

describe('pauses', () => {
  it('all who work side by side take no more of a turn than one of them would', async () => {
    const turn = turns()
    const inTurn = new Map<number, number>()
    const worker = async () => {
      for (let piece = 0; piece < 20; piece++) {
        work(1)
        inTurn.set(turn.now(), (inTurn.get(turn.now()) ?? 0) + 1)
        if (isPauseDue()) await pause()
      }
    }
    await Promise.all(Array.from({ length: 5 }, worker))
    turn.end()
    // Eight or nine of who was first; each of the others did one piece before it asked.
    expect(Math.max(...inTurn.values())).toBeLessThanOrEqual(13)
  })

  it('those who paused go on in the order in which they came', async () => {
    const order: string[] = []
    const worker = async (name: string) => {
      for (let piece = 0; piece < 3; piece++) {
        await pause()
        order.push(name)
      }
    }
    await Promise.all(['one', 'two', 'three'].map(worker))
    expect(order).toEqual(['one', 'two', 'three', 'one', 'two', 'three', 'one', 'two', 'three'])
  })
})
