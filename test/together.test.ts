import { describe, expect, it } from '@jest/globals'
import { Together } from '../src/together.js'
import { eventually } from './support/eventually.js'

/** Doubles numbers, and fails on the odd ones. */
function doubling() {
  const asked: (readonly number[])[] = []
  const together = new Together(async (numbers: readonly number[]) => {
    asked.push([...numbers])
    if (numbers.some((number) => number % 2 === 1)) throw new Error('odd')
    return numbers.map((number) => number * 2)
  })
  return { asked, ask: (number: number) => together.ask(number) }
}

describe('questions of one turn', () => {
  it('are answered together, each by its own answer, and those of the next by themselves', async () => {
    const { asked, ask } = doubling()
    expect(await Promise.all([2, 4, 6].map(ask))).toEqual([4, 8, 12])
    expect(await ask(8)).toBe(16)
    expect(asked).toEqual([[2, 4, 6], [8]])
  })

  it('are asked one by one when one of them fails', async () => {
    const { asked, ask } = doubling()
    const results = await Promise.allSettled([2, 3, 4].map(ask))
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(asked).toEqual([[2, 3, 4], [2], [3], [4]])
    await expect(ask(5)).rejects.toThrow('odd')
    expect(asked).toHaveLength(5)
  })
})

describe('questions that come while as many as may be are under way', () => {
  it('are answered together by the next, so many at a time', async () => {
    const asked: (readonly number[])[] = []
    let go = (): void => undefined
    const together = new Together(
      async (numbers: readonly number[]) => {
        asked.push([...numbers])
        if (asked.length === 1) await new Promise<void>((resolve) => (go = resolve))
        return numbers
      },
      { atOnce: 1, most: 2 },
    )
    const first = together.ask(1)
    await eventually('it is under way', () => asked.length === 1)
    const others = [2, 3, 4].map((number) => together.ask(number))
    go()
    expect(await Promise.all([first, ...others])).toEqual([1, 2, 3, 4])
    expect(asked).toEqual([[1], [2, 3], [4]])
  })
})
