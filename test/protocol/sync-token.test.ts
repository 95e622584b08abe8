import { describe, expect, it } from '@jest/globals'
import type { Position } from '../../src/protocol/numbers.js'
import { formatSyncToken, parseSyncToken } from '../../src/protocol/sync-token.js'

describe('a token of /sync', () => {
  const token = { position: 17 as Position, epoch: '1a2b', process: 'cafe', count: 3 }

  it('is read as it was written', () => {
    expect(formatSyncToken(token)).toBe('s1_17_1a2b_cafe_3')
    expect(parseSyncToken('s1_17_1a2b_cafe_3')).toEqual({ ...token, messages: undefined })
    const more = { ...token, messages: 9 as Position }
    expect(parseSyncToken(formatSyncToken(more))).toEqual(more)
  })

  it.each([
    '',
    's',
    's1_17',
    's1_17_1a2b_cafe',
    's1_-1_1a2b_cafe_3',
    's1_1e3_1a2b_cafe_3',
    's1_17_1a2b_cafe_3_',
    't17_0',
    `s1_${'9'.repeat(16)}_a_b_0`,
    's1_17_1a2b_cafe_3\n',
  ])('is refused when it is %j', (text) => {
    expect(() => parseSyncToken(text)).toThrow(expect.objectContaining({ errcode: 'M_INVALID_PARAM' }))
  })
})
