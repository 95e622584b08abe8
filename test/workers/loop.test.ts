import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { startLoop } from '../../src/workers/loop.js'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

const quiet = { error: () => undefined }

describe('a loop', () => {
  it('runs its step after each pause, also after one that failed, and says so', async () => {
    const errors: object[] = []
    let steps = 0
    const loop = startLoop({
      name: 'test',
      pause: 100,
      logger: { error: (fields) => void errors.push(fields) },
      step: async () => {
        if (++steps === 1) throw new Error('the first fails')
      },
    })
    await jest.advanceTimersByTimeAsync(350)
    expect(steps).toBe(3)
    expect(errors).toMatchObject([{ worker: 'test' }])
    await loop.stop()
    await jest.advanceTimersByTimeAsync(1_000)
    expect(steps).toBe(3)
  })

  it('stops before its first step, and twice', async () => {
    let steps = 0
    const loop = startLoop({ name: 'test', pause: 100, logger: quiet, step: async () => void steps++ })
    await loop.stop()
    await loop.stop()
    await jest.advanceTimersByTimeAsync(1_000)
    expect(steps).toBe(0)
  })

  it('ends when the step in hand has ended, which is told', async () => {
    let told = false
    let ended = false
    const loop = startLoop({
      name: 'test',
      pause: 1,
      logger: quiet,
      step: (signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            told = true
            resolve()
          })
        }),
    })
    await jest.advanceTimersByTimeAsync(5)
    await loop.stop().then(() => (ended = true))
    expect([told, ended]).toEqual([true, true])
  })
})
