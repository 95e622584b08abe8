import { describe, expect, it } from '@jest/globals'
import { QuietMoments } from '../src/garbage.js'

const MB = 1024 * 1024

/** A heap in which `alive` MB stay when it is collected. */
function heap(alive: number) {
  const state = { alive, used: alive, collections: 0 }
  const collect = () => {
    state.collections++
    state.used = state.alive
  }
  const moments = new QuietMoments(collect, () => state.used * MB)
  moments.after(0)
  state.collections = 0
  return { state, moments }
}

describe('quiet moments', () => {
  it('are used for what the start has left behind', () => {
    let collections = 0
    const moments = new QuietMoments(
      () => collections++,
      () => 30 * MB,
    )
    moments.after(0.9)
    expect(collections).toBe(0)
    moments.after(0)
    moments.after(0)
    expect(collections).toBe(1)
  })

  it('are used to collect what has come since the last time', () => {
    const { state, moments } = heap(40)
    state.used = 100
    moments.after(0.01)
    expect(state).toMatchObject({ collections: 1, used: 40 })
    moments.after(0.01)
    expect(state.collections).toBe(1)
  })

  it('are not those in which the process has something to do', () => {
    const { state, moments } = heap(40)
    state.used = 400
    moments.after(0.5)
    expect(state.collections).toBe(0)
  })

  it('are not spent on little, measured by what is alive', () => {
    const { state, moments } = heap(200)
    state.used = 290
    moments.after(0)
    expect(state.collections).toBe(0)
    state.used = 310
    moments.after(0)
    expect(state.collections).toBe(1)
  })

  it('count what stayed as alive, so that a heap which has grown is not collected again and again', () => {
    const { state, moments } = heap(20)
    state.alive = state.used = 120
    for (let period = 0; period < 5; period++) moments.after(0)
    expect(state.collections).toBe(1)
  })

  it('are too short for a large heap', () => {
    const { state, moments } = heap(1_000)
    state.used = 3_000
    moments.after(0)
    expect(state.collections).toBe(0)
  })
})
