import { isIP } from 'node:net'
import { Reply } from '../../http/reply.js'
import { isServerName } from '../../protocol/identifiers.js'
import { notFound } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /.well-known/matrix/server
 * https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
 *
 * Servers are told to come where clients come: one port answers both.
 */
export const getWellKnown = endpoint({
  operationId: 'getWellKnown',
  method: 'get',
  path: '/.well-known/matrix/server',
  auth: 'none',

  handle({ config }) {
    const delegated = delegatedName(config)
    if (delegated === undefined) throw notFound('This server says nothing of where servers find it')
    return Reply.json(200, { 'm.server': delegated }, { 'Cache-Control': 'max-age=3600' })
  },
})

/**
 * Undefined where there is nothing to be said: names that only this machine knows, addresses, which nobody looks up, and
 * base URLs that servers cannot use, because they come by HTTPS and know no path before `/_matrix`.
 */
export function delegatedName({
  serverName,
  publicBaseUrl,
}: {
  readonly serverName: string
  readonly publicBaseUrl: string
}): string | undefined {
  const host = serverName.replace(/:\d+$/, '')
  if (host === 'localhost' || host.startsWith('[') || isIP(host) !== 0) return undefined
  const url = new URL(publicBaseUrl)
  if (url.protocol !== 'https:' || url.pathname !== '/') return undefined
  const delegated = `${url.hostname}:${url.port === '' ? 443 : url.port}`
  return isServerName(delegated) ? delegated : undefined
}
