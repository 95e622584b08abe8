import { describe, expect, it } from '@jest/globals'
import { Addresses } from '../../src/federation/addresses.js'

const none = new Addresses([])

describe('without exemptions', () => {
  it.each([
    ['unspecified', '0.0.0.0'],
    ['of this network', '0.1.2.3'],
    ['private', '10.0.0.1'],
    ['shared by a provider', '100.64.0.1'],
    ['loopback', '127.0.0.1'],
    ['loopback', '127.255.255.254'],
    ['link-local', '169.254.169.254'],
    ['private', '172.16.0.1'],
    ['private', '172.31.255.255'],
    ['for protocols', '192.0.0.8'],
    ['for documentation', '192.0.2.1'],
    ['a relay', '192.88.99.1'],
    ['private', '192.168.1.1'],
    ['for benchmarks', '198.19.0.1'],
    ['for documentation', '198.51.100.1'],
    ['for documentation', '203.0.113.1'],
    ['multicast', '224.0.0.1'],
    ['reserved', '240.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['unspecified', '::'],
    ['loopback', '::1'],
    ['IPv4 in its old form', '::127.0.0.1'],
    ['IPv4 mapped', '::ffff:127.0.0.1'],
    ['IPv4 mapped', '::FFFF:7f00:1'],
    ['IPv4 mapped, written out', '0:0:0:0:0:ffff:10.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1'],
    ['NAT64', '64:ff9b::8.8.8.8'],
    ['local NAT64', '64:ff9b:1::1'],
    ['discarded', '100::1'],
    ['Teredo', '2001::1'],
    ['ORCHID', '2001:20::1'],
    ['for documentation', '2001:db8::1'],
    ['6to4', '2002:7f00:1::1'],
    ['for documentation', '3fff::1'],
    ['segment routing', '5f00::1'],
    ['unique local', 'fc00::1'],
    ['unique local', 'fd12:3456::1'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%eth0'],
    ['site-local', 'fec0::1'],
    ['multicast', 'ff02::1'],
    ['no address', 'localhost'],
    ['no address', '2130706433'],
    ['no address', '0x7f.1'],
    ['no address', ''],
  ])('refuses what is %s: %s', (_what, address) => {
    expect(none.permit(address)).toBe(false)
  })

  it.each(['1.1.1.1', '8.8.8.8', '172.32.0.1', '100.128.0.1', '192.0.1.1', '223.255.255.255', '::ffff:8.8.8.8'])(
    'permits %s',
    (address) => expect(none.permit(address)).toBe(true),
  )

  it.each(['2606:4700::1111', '2001:4860:4860::8888', '2a01:4f8::1', '3ffe:ffff::1'])('permits %s', (address) =>
    expect(none.permit(address)).toBe(true),
  )
})

describe('with exemptions', () => {
  it('permits the ranges named and nothing beside them', () => {
    const some = new Addresses(['10.1.0.0/16', '127.0.0.1', 'fd00::/8', '64:ff9b::/96'])
    for (const address of ['10.1.2.3', '127.0.0.1', '::ffff:127.0.0.1', 'fd00::1', '64:ff9b::8.8.8.8', '8.8.8.8']) {
      expect([address, some.permit(address)]).toEqual([address, true])
    }
    for (const address of ['10.2.0.1', '127.0.0.2', 'fc00::1', '64:ff9b:1::1', '::1']) {
      expect([address, some.permit(address)]).toEqual([address, false])
    }
  })

  it('permits every address where all are, and still no name', () => {
    expect(new Addresses('all').permit('169.254.169.254')).toBe(true)
    expect(new Addresses('all').permit('localhost')).toBe(false)
  })
})
