/**
 * The addresses of a name: what `/etc/hosts` says, otherwise what the name servers say. Not by the operating system's own
 * look-up: that one holds one of the few threads that the whole process shares for as long as a name server does not
 * answer, and a hundred names whose servers are gone would keep all others waiting. It is asked for the names that the name
 * servers know nothing of and that it may know by other means (search domains, mDNS).
 */
import { lookup as systemLookup, Resolver } from 'node:dns/promises'
import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'

/** IPv4 first: an address of a kind that leads nowhere costs the time of an attempt more often with IPv6. */
export type Lookup = (host: string) => Promise<readonly string[]>

export interface LookUpOptions {
  readonly hostsFile?: string
  /** As for `Resolver.setServers`; otherwise those of the operating system. */
  readonly nameServers?: readonly string[]
  readonly bySystem?: Lookup
}

export const systemAddresses: Lookup = async (host) =>
  (await systemLookup(host, { all: true, verbatim: true })).map(({ address }) => address)

export function lookUp({
  hostsFile = '/etc/hosts',
  nameServers,
  bySystem = systemAddresses,
}: LookUpOptions = {}): Lookup {
  const hosts = new HostsFile(hostsFile)
  const resolver = nameServerResolver(nameServers)
  return async (host) => {
    const known = await hosts.addressesOf(host)
    if (known !== undefined) return known
    const found = await byNameServers(resolver, host)
    return found.length > 0 ? found : bySystem(host)
  }
}

/** None where there are none. @throws where it could not be found out */
export async function byNameServers(resolver: Resolver, host: string): Promise<readonly string[]> {
  const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  const failure = answers.find((answer) => answer.status === 'rejected' && !isAbsent(answer.reason as Error))
  if (found.length === 0 && failure?.status === 'rejected') throw failure.reason
  return found
}

/** c-ares, which takes no thread. */
export function nameServerResolver(nameServers?: readonly string[]): Resolver {
  const resolver = new Resolver({ timeout: 3_000, tries: 2 })
  if (nameServers !== undefined) resolver.setServers(nameServers)
  return resolver
}

/** Whether there is no such record, in contrast to: it could not be found out. */
export const isAbsent = (cause: NodeJS.ErrnoException): boolean =>
  cause.code === 'ENOTFOUND' || cause.code === 'ENODATA'

/** Read again when it has changed. A machine without one has no names in it. */
class HostsFile {
  #read: { readonly mtimeMs: number; readonly names: ReadonlyMap<string, readonly string[]> } | undefined

  constructor(private readonly path: string) {}

  async addressesOf(host: string): Promise<readonly string[] | undefined> {
    const mtimeMs = (await stat(this.path).catch(() => undefined))?.mtimeMs
    if (mtimeMs === undefined) return undefined
    if (this.#read?.mtimeMs !== mtimeMs)
      this.#read = { mtimeMs, names: namesIn(await readFile(this.path, 'utf8').catch(() => '')) }
    return this.#read.names.get(host.toLowerCase())
  }
}

/** Of lines as `192.0.2.1 name other-name # a comment`. */
function namesIn(text: string): ReadonlyMap<string, readonly string[]> {
  const byName = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (isIP(address) === 0) continue
    for (const name of names) byName.set(name.toLowerCase(), [...(byName.get(name.toLowerCase()) ?? []), address])
  }
  for (const addresses of byName.values()) addresses.sort((a, b) => isIP(a) - isIP(b))
  return byName
}
