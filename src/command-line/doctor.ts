/**
 * `hearth doctor`: what other servers see of this one, as far as this machine can tell. It walks their way with the code
 * that finds and asks them, and needs neither the database nor a running server.
 */
import { isIP } from 'node:net'
import { type Config, loadConfig } from '../config.js'
import { Addresses } from '../federation/addresses.js'
import { type ResolveSrv, systemResolveSrv } from '../federation/discovery.js'
import { byNameServers, type Lookup, nameServerResolver, systemAddresses } from '../federation/look-up.js'
import { OutboundHttp } from '../federation/outbound-http.js'
import type { SigningKey } from '../protocol/signing.js'
import { delegatedName } from '../server-server/wellknown/get-well-known.js'
import { readSigningKey } from '../signing-key.js'
import { answerFindings } from './doctor/answers.js'
import { clientFindings } from './doctor/clients.js'
import { connectionFindings } from './doctor/connections.js'
import { type Finding, good, wrong } from './doctor/finding.js'
import { hereFinding } from './doctor/here.js'
import { walk } from './doctor/walk.js'
import { isOnlyHere } from './on-the-federation.js'
import { printable } from './printable.js'
import { version } from './version.js'

export interface Report {
  readonly serverName: string
  /** Nothing that was seen keeps other servers away. */
  readonly isReachable: boolean
  readonly findings: readonly Finding[]
}

export interface Examination {
  readonly config: Pick<Config, 'serverName' | 'publicBaseUrl' | 'http' | 'outbound'>
  /** Undefined before the first start. */
  readonly signingKey: SigningKey | undefined
  readonly http: Pick<OutboundHttp, 'get' | 'request' | 'inspect'>
  readonly resolveSrv: ResolveSrv
  /** Names that the DNS does not know and this machine does. */
  readonly knownOnlyHere: ReadonlySet<string>
  readonly now: () => number
}

/** Ends with 1 when other servers could not reach this one. */
export async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const { config } = loadConfig()
  const knownOnlyHere = new Set<string>()
  const http = new OutboundHttp({
    // Whether an address may be reached by others is said, and not in the way: behind it is what the operator runs.
    addresses: new Addresses('all'),
    trustedCaFile: config.outbound.trustedCaFile,
    lookup: byDns(knownOnlyHere),
  })
  try {
    const signingKey = readSigningKey(config.signingKeyFile)
    const resolveSrv = systemResolveSrv()
    const report = await examine({ config, signingKey, http, resolveSrv, knownOnlyHere, now: Date.now })
    process.stdout.write(json === true ? reportJson(report) : reportText(report))
    if (!report.isReachable) process.exitCode = 1
  } finally {
    await http.close()
  }
}

/** Other servers do not read our `/etc/hosts`: it is asked only where the DNS has nothing. */
function byDns(knownOnlyHere: Set<string>): Lookup {
  const resolver = nameServerResolver()
  return async (host) => {
    const found = await byNameServers(resolver, host).catch(() => [])
    if (found.length > 0) return found
    const local = await systemAddresses(host)
    knownOnlyHere.add(host)
    return local
  }
}

export async function examine(examination: Examination): Promise<Report> {
  const { serverName } = examination.config
  const name = nameFinding(serverName)
  const findings = [await hereFinding(examination.config), name]
  if (name.verdict !== 'wrong') findings.push(...(await fromOutside(examination)))
  return { serverName, isReachable: findings.every(({ verdict }) => verdict !== 'wrong'), findings }
}

function nameFinding(serverName: string): Finding {
  const host = serverName.replace(/:\d+$/, '')
  if (isOnlyHere(host)) {
    return wrong(
      'SERVER_NAME',
      `${serverName} is what every machine calls itself: no other server can reach it`,
      'To talk with people elsewhere, begin anew with a name of your own: it is part of every user and room, and cannot change later.',
    )
  }
  const address = isIP(host) === 0 && !host.startsWith('[') ? '' : ' (an address: it cannot move to another machine)'
  return good('SERVER_NAME', `${serverName}; users are @name:${serverName}${address}`)
}

async function fromOutside({
  config,
  signingKey,
  http,
  resolveSrv,
  knownOnlyHere,
  now,
}: Examination): Promise<Finding[]> {
  const { serverName, publicBaseUrl, outbound } = config
  const { target, findings: steps } = await walk(serverName, { http, resolveSrv, delegation: delegatedName(config) })
  const clients = await clientFindings({ http, serverName, publicBaseUrl })
  if (target === undefined) return [...steps, ...clients]

  const inspections = await http.inspect(target)
  const reachable = new Addresses(outbound.allow)
  const connections = connectionFindings(target, inspections, { reachable, knownOnlyHere, now })
  const isTrusted = inspections.some((one) => one.failure === undefined && one.distrust === undefined)
  const answers = isTrusted
    ? await answerFindings(target, { http, serverName, signingKey, version: version(), now })
    : []
  return [...steps, ...connections, ...answers, ...clients]
}

const reportJson = ({ serverName, isReachable, findings }: Report): string =>
  `${JSON.stringify({ server_name: serverName, reachable: isReachable, findings }, undefined, 2)}\n`

const marks = { good: 'ok', doubt: 'hm', wrong: 'WRONG', skipped: '-' } as const

/** Exported for its test. */
export function reportText({ serverName, isReachable, findings }: Report): string {
  const lines = findings.flatMap(({ about, verdict, text, advice }) => [
    `  ${marks[verdict].padEnd(7)}${about.padEnd(17)}${printable(text)}`,
    ...(advice === undefined ? [] : [`${' '.repeat(26)}→ ${printable(advice)}`]),
  ])
  const outcome = isReachable
    ? `Other servers can reach ${serverName}.`
    : `Other servers cannot reach ${serverName}: see what is marked WRONG, from the top.`
  return `${[`What other servers see of ${serverName}, as far as this machine can tell:`, '', ...lines, '', outcome].join('\n')}\n`
}
