import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import { inOrder, isChild, type SpaceChild } from '../../src/room/space-child.js'

const child = (state_key: string, content: JsonObject = {}, origin_server_ts = 0): SpaceChild => ({
  type: 'm.space.child',
  state_key,
  sender: '@alice:hearth.test',
  content: { via: ['hearth.test'], ...content },
  origin_server_ts,
})

describe('the children of a space', () => {
  it('stand by their order, those without one after them by time and id', () => {
    const sorted = [
      child('!e:x', { order: 'A b' }),
      child('!d:x', { order: 'B' }),
      child('!c:x', { order: 'a' }),
      child('!c:y', { order: '~~' }),
      child('!z:x', {}, 1),
      child('!a:x', {}, 2),
      child('!b:x', { order: 'ä' }, 2),
      child('!f:x', { order: 'x'.repeat(51) }, 2),
      child('!g:x', { order: 5 }, 2),
      child('!h:x', { order: '' }, 2),
    ]
    expect(inOrder([...sorted].reverse())).toEqual(sorted)
  })

  it.each<[string, SpaceChild, boolean]>([
    ['names a room and servers', child('!a:x'), true],
    ['names a room by the hash of its create event', child(`!${'a'.repeat(43)}`), true],
    ['names what is no room', child('#a:x'), false],
    ['names no servers', child('!a:x', { via: [] }), false],
    ['names what are no servers', child('!a:x', { via: ['not a name', 7] }), false],
    ['has another via', child('!a:x', { via: 'x' }), false],
    ['is larger than anybody needs', child('!a:x', { text: 'x'.repeat(5_000) }), false],
  ])('are those whose event %s: %#', (_sentence, event, expected) => {
    expect(isChild(event)).toBe(expected)
  })
})
