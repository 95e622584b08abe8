import { describe, expect, it } from '@jest/globals'
import { propertyPath } from '../../src/protocol/property-path.js'

describe('a property path', () => {
  it.each([
    ['content.body', ['content', 'body']],
    ['content.m\\.relates_to.rel_type', ['content', 'm.relates_to', 'rel_type']],
    ['content.m\\\\foo', ['content', 'm\\foo']],
    ['a\\x.b', ['a\\x', 'b']],
    ['a..b\\', ['a', '', 'b\\']],
    ['', ['']],
    ['new\nline.😀', ['new\nline', '😀']],
  ])('%j names %j', (key, names) => {
    expect(propertyPath(key)).toEqual(names)
  })
})
