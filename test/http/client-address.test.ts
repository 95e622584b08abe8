import { describe, expect, it } from '@jest/globals'
import { addressKey } from '../../src/accounts/address-key.js'
import { ClientAddresses } from '../../src/http/client-address.js'

describe('the address of a client', () => {
  const addresses = new ClientAddresses(['127.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8'])

  it.each<[string, string | undefined, string | undefined, string]>([
    ['is the peer without a header', '192.0.2.1', undefined, '192.0.2.1'],
    ['is the peer when that is no trusted proxy, whatever it says', '192.0.2.1', '6.6.6.6', '192.0.2.1'],
    ['is what a trusted proxy says', '127.0.0.1', '192.0.2.1', '192.0.2.1'],
    ['is the first untrusted one from the right', '10.1.1.1', '6.6.6.6, 192.0.2.1, 10.2.2.2', '192.0.2.1'],
    ['is the leftmost one when all are trusted', '127.0.0.1', '10.0.0.9', '10.0.0.9'],
    ['stops at what is no address', '127.0.0.1', '192.0.2.1, unknown', '127.0.0.1'],
    ['is without the prefix of a mapped IPv4 address', '::ffff:127.0.0.1', '::ffff:192.0.2.1', '192.0.2.1'],
    ['is without brackets and port', '::1', '[2001:db8::1]:443', '2001:db8::1'],
    ['is what the peer of a unix socket says', undefined, '192.0.2.1', '192.0.2.1'],
  ])('%s', (_sentence, peer, forwardedFor, expected) => {
    expect(addresses.of(peer, forwardedFor)).toBe(expected)
  })

  it('counts an IPv6 customer as one, by the first 64 bits', () => {
    expect(addressKey('2001:db8:0:1:aaaa::1')).toBe(addressKey('2001:db8::1:bbbb:0:0:2'))
    expect(addressKey('2001:db8:0:2::1')).not.toBe(addressKey('2001:db8:0:1::1'))
    expect(addressKey('192.0.2.1')).toBe('192.0.2.1')
  })
})
