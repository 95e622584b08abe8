import { describe, expect, it } from '@jest/globals'
import type { RoomNumber } from '../../src/protocol/numbers.js'
import { segmentKey } from '../../src/store/memory.js'

describe('the key of a segment', () => {
  it('is another for every segment of every room, however many there are', () => {
    const rooms = [1, 2 ** 22 - 1, 2 ** 22, 2 ** 22 + 1, 2 ** 31 - 1] as RoomNumber[]
    const segments = [1, 2, 3, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 40]
    const keys = rooms.flatMap((room) => segments.map((segment) => segmentKey(room, segment)))
    expect(new Set(keys).size).toBe(rooms.length * segments.length)
  })
})
