import { describe, expect, it } from '@jest/globals'
import { delegatedName } from '../../src/server-server/wellknown/get-well-known.js'

describe('where servers are told to come', () => {
  it.each<[string, string, string | undefined]>([
    ['example.org', 'https://matrix.example.org', 'matrix.example.org:443'],
    ['example.org', 'https://matrix.example.org:8448', 'matrix.example.org:8448'],
    ['example.org', 'https://example.org', 'example.org:443'],
    ['example.org:8448', 'https://example.org:8448', 'example.org:8448'],
    ['example.org', 'https://[2001:db8::1]:8448', '[2001:db8::1]:8448'],
    ['example.org', 'http://matrix.example.org', undefined],
    ['example.org', 'https://example.org/matrix', undefined],
    ['localhost', 'https://localhost', undefined],
    ['localhost:8448', 'https://localhost:8448', undefined],
    ['192.0.2.1', 'https://192.0.2.1', undefined],
    ['[2001:db8::1]:8448', 'https://example.org', undefined],
  ])('%s, reached at %s: %s', (serverName, publicBaseUrl, expected) => {
    expect(delegatedName({ serverName, publicBaseUrl })).toBe(expected)
  })
})
