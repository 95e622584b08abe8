import { describe, expect, it } from '@jest/globals'
import {
  fitsId,
  isEventId,
  isNewLocalpart,
  isRoomAlias,
  isRoomId,
  isRoomVersionName,
  isServerName,
  isUserId,
  localpartOf,
  serverNameOf,
} from '../../src/protocol/identifiers.js'

const hash = 'A'.repeat(21) + '-' + '_'.repeat(21)
const long = 'a'.repeat(253)

/** Every grammar with what it takes and what it refuses. */
const grammars: [string, (text: string) => boolean, string[], string[]][] = [
  [
    'a server name',
    isServerName,
    [
      'matrix.org',
      'matrix.org:8888',
      '1.2.3.4',
      '1.2.3.4:1234',
      '[1234:5678::abcd]',
      '[1234:5678::abcd]:5678',
      '[::1]',
      'localhost',
      'A.b-c',
    ],
    [
      '',
      ':',
      ':80',
      'a:',
      'a:123456',
      'a:80:80',
      'a b',
      'a_b',
      'a/b',
      '[::1',
      '::1',
      '[1.2.3.4]',
      '[:::]',
      '[::g]',
      'é.org',
      'a\n',
      'a:8\n',
      'a'.repeat(256),
      '[fe80::1%eth0]',
    ],
  ],
  [
    'a user id',
    isUserId,
    [
      '@alice:example.org',
      '@:example.org',
      '@Ünï côdé 😀:example.org',
      '@a/b+c=.-_:localhost:8448',
      '@a:[::1]:80',
      '@\u0001:a',
      `@${'a'.repeat(252)}:b`,
    ],
    [
      '',
      '@',
      '@alice',
      'alice:example.org',
      '@alice:',
      '@alice:exa mple',
      '@a\0:b',
      '@\ud800:b',
      `@${long}:b`,
      `@${'é'.repeat(127)}:b`,
      '!a:b',
      '@a:b\n',
    ],
  ],
  [
    'a room id',
    isRoomId,
    ['!abc:example.org', '!a b😀:example.org', `!${hash}`, `!${hash}:example.org`],
    [
      '',
      '!',
      '!abc',
      `!${hash}a`,
      `!${hash.slice(1)}`,
      `!${hash.slice(1)}+`,
      '#abc:example.org',
      '!a\0:b',
      `!${long}:b`,
      `!${hash}\n`,
    ],
  ],
  [
    'a room alias',
    isRoomAlias,
    ['#room:example.org', '#rôom 😀#:example.org'],
    ['', '#', '#room', '#:example.org', '#room:', '#a\0:b', '#\udc00:b', `#${long}:b`, '@a:b'],
  ],
  [
    'an event id',
    isEventId,
    ['$abc:example.org', `$${hash}`, `$${'/'.repeat(42)}+`, '$143273582443PhrSn:example.org'],
    ['', '$', '$abc', `$${hash}A`, `$${hash}=`, `$${long}:b`, '!abc:example.org', '$a\0:b'],
  ],
  [
    'a localpart of a new account',
    isNewLocalpart,
    ['alice', 'a.b_c=d/e+f-9'],
    ['', 'Alice', 'a b', 'é', 'a:b', '@a', 'a\n', 'a#'],
  ],
  [
    'a room version',
    isRoomVersionName,
    ['1', '1.2', '1.2-beta', 'com.example.version'],
    ['', 'A', '1_2', 'a'.repeat(33), '1\n', '1 '],
  ],
]

describe.each(grammars)('the grammar of %s', (_name, is, valid, invalid) => {
  it.each(valid.map((text) => [text]))('takes %j', (text) => expect(is(text)).toBe(true))
  it.each(invalid.map((text) => [text]))('refuses %j', (text) => expect(is(text)).toBe(false))
})

describe('the parts of an identifier', () => {
  it('are divided by the first colon', () => {
    expect(serverNameOf('@alice:example.org:8448')).toBe('example.org:8448')
    expect(localpartOf('@alice:example.org:8448')).toBe('alice')
    expect(serverNameOf(`!${hash}`)).toBeUndefined()
    expect(localpartOf('@:a')).toBe('')
    expect(localpartOf('@alice')).toBe('alice')
  })

  it('fit 255 bytes of UTF-8, not 255 characters', () => {
    expect(fitsId('a'.repeat(255))).toBe(true)
    expect(fitsId('a'.repeat(256))).toBe(false)
    expect(fitsId('é'.repeat(127))).toBe(true)
    expect(fitsId('é'.repeat(128))).toBe(false)
    expect(fitsId('語'.repeat(85))).toBe(true)
    expect(fitsId('語'.repeat(86))).toBe(false)
  })
})
