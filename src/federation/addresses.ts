/**
 * Which addresses requests of ours may go to. Whoever makes this server fetch something chooses the name, and the name's
 * owner chooses the address: without this list both reach what only this machine and its network can. It is asked about
 * addresses and never about names, after the look-up and again on every redirect.
 */
import { BlockList, isIP, isIPv6 } from 'node:net'

/** Everything in the IANA special-purpose registry that is not reachable by anybody, and what leads to such addresses. */
const specialIPv4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10', // shared by customers of a provider
  '127.0.0.0/8',
  '169.254.0.0/16', // link-local, where clouds give out credentials
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24', // relays of 6to4
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast
]

/**
 * Only 2000::/3 is given out to be reached by all. So the first three ranges hold ::, ::1, NAT64 (64:ff9b::/96 and
 * 64:ff9b:1::/48), 100::/64, unique local fc00::/7, link-local fe80::/10, site-local fec0::/10 and multicast ff00::/8.
 */
const specialIPv6 = [
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // Teredo, benchmarks, ORCHID
  '2001:db8::/32',
  '2002::/16', // 6to4: an IPv4 address inside
  '3fff::/20',
]

export class Addresses {
  readonly #allowed: Ranges | 'all'

  /** `allow`: addresses and ranges that are exempt, or all of them. */
  constructor(allow: readonly string[] | 'all') {
    this.#allowed = allow === 'all' ? 'all' : new Ranges(allow)
  }

  /** False for what is no address. */
  permit(address: string): boolean {
    const { text, family } = plain(address)
    if (family === undefined) return false
    if (this.#allowed === 'all' || this.#allowed.hold(text, family)) return true
    return !special.hold(text, family)
  }
}

type Family = 'ipv4' | 'ipv6'

/** Each family has a list of its own: a `BlockList` looks for IPv4 addresses, mapped, in ranges of IPv6 as well. */
class Ranges {
  readonly #lists: Readonly<Record<Family, BlockList>> = { ipv4: new BlockList(), ipv6: new BlockList() }

  constructor(ranges: readonly string[]) {
    for (const range of ranges) {
      const [address = '', bits] = range.split('/')
      const family = isIPv6(address) ? 'ipv6' : 'ipv4'
      this.#lists[family].addSubnet(address, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family)
    }
  }

  hold(address: string, family: Family): boolean {
    return this.#lists[family].check(address, family)
  }
}

const special = new Ranges([...specialIPv4, ...specialIPv6])

/** An IPv4 address inside an IPv6 one is the IPv4 address. A zone says only through which interface. */
function plain(address: string): { text: string; family: Family | undefined } {
  const [text = ''] = address.split('%')
  if (!isIPv6(text)) return { text, family: isIP(text) === 4 ? 'ipv4' : undefined }
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonicalIPv6(text))
  return mapped === null ? { text, family: 'ipv6' } : { text: ipv4Of(mapped[1]!, mapped[2]!), family: 'ipv4' }
}

/** As URLs write it: `::ffff:7f00:1` for `0:0:0:0:0:FFFF:127.0.0.1`. */
const canonicalIPv6 = (address: string): string => new URL(`http://[${address}]`).hostname.slice(1, -1)

function ipv4Of(high: string, low: string): string {
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [a >> 8, a & 255, b >> 8, b & 255].join('.')
}
