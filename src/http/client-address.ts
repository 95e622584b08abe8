import { BlockList, isIP, isIPv6 } from 'node:net'

/**
 * The address a request came from. `X-Forwarded-For` is believed only as far as trusted peers vouch for it: from the
 * right, the first address that is not a trusted proxy's is the client's. What stands left of it anybody may have
 * written.
 */
export class ClientAddresses {
  readonly #trusted = new BlockList()

  /** Addresses and CIDR ranges of the proxies whose word counts. */
  constructor(trustedProxies: readonly string[]) {
    for (const range of trustedProxies) addRange(this.#trusted, range)
  }

  of(peer: string | undefined, forwardedFor: string | undefined): string {
    let address = plain(peer ?? '')
    if (forwardedFor === undefined || !this.#trusts(address)) return address

    for (const hop of forwardedFor.split(',').reverse()) {
      const next = plain(hop.trim())
      if (isIP(next) === 0) break
      address = next
      if (!this.#trusts(address)) break
    }
    return address
  }

  /** A unix socket has no peer address: whoever can connect to it is the proxy. */
  #trusts(address: string): boolean {
    if (address === '') return true
    return this.#trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
}

function addRange(list: BlockList, range: string): void {
  const [address = '', bits] = range.split('/')
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  if (bits === undefined) list.addAddress(address, family)
  else list.addSubnet(address, Number(bits), family)
}

/** Without the `::ffff:` of an IPv4 peer on an IPv6 socket, without brackets and port. */
function plain(address: string): string {
  const bare = /^\[(.*)\](?::\d+)?$/.exec(address)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(address)?.[1] ?? address
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare
}
