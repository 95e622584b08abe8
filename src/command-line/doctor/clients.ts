/** What clients find by SERVER_NAME, and whether PUBLIC_BASE_URL is right. None of it keeps other servers away. */
import type { OutboundHttp } from '../../federation/outbound-http.js'
import { isObject, own, ownString } from '../../protocol/json.js'
import { jsonOf } from './answers.js'
import { doubt, type Finding, good, messageOf } from './finding.js'

export interface ClientsDeps {
  readonly http: Pick<OutboundHttp, 'get'>
  readonly serverName: string
  readonly publicBaseUrl: string
}

const limits = { timeout: 15_000, maxBytes: 64 * 1024, redirects: 5 }

export async function clientFindings(deps: ClientsDeps): Promise<Finding[]> {
  return Promise.all([baseUrlFinding(deps), clientWellKnownFinding(deps)])
}

const BASE_URL = 'PUBLIC_BASE_URL'

async function baseUrlFinding({ http, publicBaseUrl }: ClientsDeps): Promise<Finding> {
  const url = new URL(publicBaseUrl)
  if (url.protocol !== 'https:') {
    return doubt(
      BASE_URL,
      `${publicBaseUrl} is not https:`,
      'Clients in browsers refuse it, and passwords travel in the clear. Other servers are not told of it: they come to port 8448 of SERVER_NAME, or where an SRV record says.',
    )
  }
  const asked = `${publicBaseUrl}/_matrix/client/versions`
  try {
    const { status, text } = await http.get(new URL(asked), limits)
    const answer = jsonOf(text)
    if (status === 200 && isObject(answer) && Array.isArray(own(answer, 'versions'))) {
      return url.pathname === '/' ? good(BASE_URL, `${publicBaseUrl} answers`) : withPath(publicBaseUrl)
    }
    return doubt(
      BASE_URL,
      `${asked} answers ${status}, and not as a Matrix server`,
      'Clients are sent there. Set PUBLIC_BASE_URL to the address at which the reverse proxy, or TLS_LISTEN, is reached from outside.',
    )
  } catch (cause) {
    return doubt(
      BASE_URL,
      `${asked} cannot be had (${messageOf(cause)})`,
      'Clients are sent there. Set PUBLIC_BASE_URL to the address at which the reverse proxy, or TLS_LISTEN, is reached from outside.',
    )
  }
}

const withPath = (publicBaseUrl: string): Finding =>
  doubt(
    BASE_URL,
    `${publicBaseUrl} answers, and has a path`,
    'Other servers know no path, so they are not told of it: they come to port 8448 of SERVER_NAME, or where an SRV record says.',
  )

const CLIENTS = 'Client log-in'

async function clientWellKnownFinding({ http, serverName, publicBaseUrl }: ClientsDeps): Promise<Finding> {
  const host = serverName.replace(/:\d+$/, '')
  const url = `https://${host}/.well-known/matrix/client`
  const serve = `Let ${url} answer with {"m.homeserver":{"base_url":"${publicBaseUrl}"}} and the header Access-Control-Allow-Origin: *, by passing it to Hearth, or with a file.`
  const byHand = `People can log in by giving ${publicBaseUrl} as their homeserver. ${serve}`
  try {
    const { status, text, headers } = await http.get(new URL(url), limits)
    const told = status === 200 ? baseUrlIn(text) : undefined
    if (told === undefined)
      return doubt(
        CLIENTS,
        `${url} ${status === 200 ? 'answers, but not with a homeserver' : `answers ${status}`}`,
        byHand,
      )
    if (told.replace(/\/+$/, '') !== publicBaseUrl)
      return doubt(CLIENTS, `${url} says ${told}; PUBLIC_BASE_URL is ${publicBaseUrl}`, serve)
    if (headers['access-control-allow-origin'] !== '*')
      return doubt(
        CLIENTS,
        `${url} says ${told}, but not to clients in browsers`,
        'Its answer needs the header Access-Control-Allow-Origin: *',
      )
    return good(CLIENTS, `${url} sends clients to ${told}`)
  } catch (cause) {
    return doubt(CLIENTS, `${url} cannot be had (${messageOf(cause)})`, byHand)
  }
}

function baseUrlIn(text: string): string | undefined {
  const answer = jsonOf(text)
  const homeserver = isObject(answer) ? own(answer, 'm.homeserver') : undefined
  return isObject(homeserver) ? ownString(homeserver, 'base_url') : undefined
}
