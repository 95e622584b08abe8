import { isIP } from 'node:net'
import type { Config } from '../config.js'
import { Addresses } from '../federation/addresses.js'
import { delegatedName } from '../server-server/wellknown/get-well-known.js'

/** Whether other servers can be expected to find this one, in one line, by its configuration alone. `hearth doctor` looks. */
export function onTheFederation(config: Pick<Config, 'serverName' | 'publicBaseUrl' | 'outbound'>): string {
  const { serverName, outbound } = config
  const [, bracketed, plain = '', port] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(serverName) ?? []
  const host = bracketed ?? plain
  if (isOnlyHere(host)) return `not on the federation: SERVER_NAME is ${serverName}`
  if (isIP(host) !== 0 && !new Addresses(outbound.allow).permit(host)) {
    return `not on the federation: SERVER_NAME is an address of a private network`
  }
  return `other servers come to ${whereTo(config, host, port)}; \`hearth doctor\` tells whether they get here`
}

/** Names that every machine has for itself. */
export const isOnlyHere = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost')

function whereTo(config: Pick<Config, 'serverName' | 'publicBaseUrl'>, host: string, port: string | undefined): string {
  if (port !== undefined) return config.serverName
  const delegated = delegatedName(config)
  if (delegated === undefined) return `port 8448 of ${host}`
  return `${delegated} when https://${host}/.well-known/matrix/server is Hearth's, otherwise to port 8448 of ${host}`
}
