/**
 * Where a server listens, by its name. https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
 *
 * 1. An address is connected to as it is.
 * 2. So is a name with a port.
 * 3. A name alone may be delegated by its `/.well-known` to another name, which then takes its place in all that follows,
 *    but not to be delegated again.
 * 4. Otherwise an SRV record of `_matrix-fed._tcp` says where,
 * 5. or one of `_matrix._tcp`, as it was done formerly,
 * 6. or it is port 8448.
 *
 * The certificate must be for the name that the walk arrived at, and never for what an SRV record named: DNS proves nothing.
 */
import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import { isServerName } from '../protocol/identifiers.js'
import { isAbsent, nameServerResolver } from './look-up.js'
import type { OutboundHttp, Place, Target } from './outbound-http.js'
import { WellKnown } from './well-known.js'

const DEFAULT_PORT = 8448

export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/** Rejects where there is no record, or it cannot be found out. */
export type ResolveSrv = (name: string) => Promise<readonly SrvRecord[]>

export interface DiscoveryOptions {
  readonly http: Pick<OutboundHttp, 'get'>
  readonly resolveSrv?: ResolveSrv
  readonly now?: () => number
  /** From 0 to 1, to choose among SRV records of one priority. */
  readonly random?: () => number
}

/** `dns` does not say how long a record may be kept. */
const SRV_MS = 5 * 60_000
/** What could not be found out, not what is known to be absent. */
const SRV_FAILURE_MS = 60_000

export class Discovery {
  readonly #wellKnown: WellKnown
  readonly #resolveSrv: ResolveSrv
  readonly #random: () => number
  readonly #srv: LRUCache<string, { readonly places: Promise<readonly Place[]> }>

  constructor({ http, resolveSrv = systemResolveSrv(), now = Date.now, random = anyFraction }: DiscoveryOptions) {
    this.#wellKnown = new WellKnown(http, now)
    this.#resolveSrv = resolveSrv
    this.#random = random
    this.#srv = new LRUCache({ max: 10_000, ttl: SRV_MS, ttlResolution: 0, perf: { now } })
  }

  /** Undefined for what is no server name. Nothing is connected to but the well-known file. */
  async find(serverName: string): Promise<Target | undefined> {
    if (!isServerName(serverName)) return undefined
    const { host, port } = parts(serverName)
    const mayBeDelegated = isIP(host) === 0 && port === undefined
    return this.#targetOf((mayBeDelegated ? await this.#wellKnown.delegatedName(host) : undefined) ?? serverName)
  }

  async #targetOf(name: string): Promise<Target> {
    const { host, port } = parts(name)
    const isFound = isIP(host) !== 0 || port !== undefined
    const places = isFound ? [] : await this.#placesBySrv(host)
    return {
      certificateName: host,
      host: name,
      places: places.length > 0 ? places : [{ host, port: port ?? DEFAULT_PORT }],
    }
  }

  async #placesBySrv(host: string): Promise<readonly Place[]> {
    const places = await this.#places(`_matrix-fed._tcp.${host}`)
    return places.length > 0 ? places : this.#places(`_matrix._tcp.${host}`)
  }

  /** In the order in which they are to be tried, which is kept as long as the records are. None where anything goes wrong. */
  #places(name: string): Promise<readonly Place[]> {
    const known = this.#srv.get(name)
    if (known !== undefined) return known.places
    const places = this.#resolveSrv(name).then(
      (records) => inOrder(records.filter(isUsable), this.#random).map(({ name, port }) => ({ host: name, port })),
      (cause: NodeJS.ErrnoException) => {
        if (!isAbsent(cause)) this.#srv.set(name, { places: none }, { ttl: SRV_FAILURE_MS })
        return []
      },
    )
    this.#srv.set(name, { places })
    return places
  }
}

/** In [0, 1). */
export const anyFraction = (): number => randomInt(2 ** 32) / 2 ** 32

const none: Promise<readonly Place[]> = Promise.resolve([])

export function systemResolveSrv(): ResolveSrv {
  const resolver = nameServerResolver()
  return (name) => resolver.resolveSrv(name)
}

/** `.` says that there is no such service. */
const isUsable = ({ name, port }: SrvRecord): boolean => name !== '' && name !== '.' && port > 0

/**
 * RFC 2782: smaller priorities first; among equals one is drawn by weight, then the next of those that are left. Those
 * without weight stand first while drawing, so that they have a very small chance and not none.
 */
export function inOrder(records: readonly SrvRecord[], random: () => number): SrvRecord[] {
  const left = records.toSorted((a, b) => a.priority - b.priority || a.weight - b.weight)
  const ordered: SrvRecord[] = []
  while (left.length > 0) {
    const equals = left.filter(({ priority }) => priority === left[0]!.priority)
    ordered.push(...left.splice(draw(equals, random), 1))
  }
  return ordered
}

function draw(records: readonly SrvRecord[], random: () => number): number {
  const total = records.reduce((sum, { weight }) => sum + weight, 0)
  let point = Math.floor(random() * (total + 1))
  return records.findIndex(({ weight }) => (point -= weight) <= 0)
}

/** The host of a server name, without brackets, and its port if it has one. */
function parts(name: string): { host: string; port: number | undefined } {
  const [, inBrackets, plain, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(name) ?? []
  return { host: inBrackets ?? plain ?? name, port: port === undefined ? undefined : Number(port) }
}
