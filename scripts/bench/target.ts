/**
 * The servers a run is made against, from the command line.
 *
 * Only servers on this machine: a load generator that can be pointed elsewhere is a weapon. What is checked is the
 * address connected to, not the name.
 */

import { lookup } from 'node:dns/promises'
import { existsSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import pg from 'pg'
import type { Endpoint } from './http/connection.js'

export interface Target {
  readonly label: string
  readonly endpoint: Endpoint
  /** Process whose memory and CPU time are read from /proc. */
  readonly pid?: number
  readonly databaseUrl?: string
  /** For `/_synapse/admin/v1/register`; accounts are made by open registration where it is absent. */
  readonly sharedSecret?: string
}

export interface TargetOptions {
  readonly target: readonly string[]
  readonly pid: readonly string[]
  readonly databaseUrl: readonly string[]
  readonly sharedSecret: readonly string[]
}

/** Something about the command line that its author has to change. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws UsageError on malformed or remote URLs, values without a target, and processes that do not exist */
export async function resolveTargets(options: TargetOptions): Promise<Target[]> {
  const named = options.target.map(namedTarget)
  if (named.length === 0) throw new UsageError('--target: at least one is needed')
  const labels = named.map(({ label }) => label)
  if (new Set(labels).size < labels.length) throw new UsageError(`two targets are named alike: ${labels.join(', ')}`)
  const pids = assign('--pid', options.pid, labels)
  const databases = assign('--database-url', options.databaseUrl, labels)
  const secrets = assign('--shared-secret', sharedByAll(options.sharedSecret, labels), labels)
  return Promise.all(
    named.map(async ({ label, url }) => ({
      label,
      endpoint: await loopbackEndpoint(url),
      pid: pids.has(label) ? processId(pids.get(label)!) : undefined,
      databaseUrl: databases.has(label) ? await loopbackDatabase(databases.get(label)!) : undefined,
      sharedSecret: secrets.get(label),
    })),
  )
}

/** `URL`, named by its host and port, or `label=URL`. */
function namedTarget(text: string): { label: string; url: URL } {
  const labelled = /^([\w.-]+)=(.*)$/.exec(text)
  const address = labelled?.[2] ?? text
  if (!URL.canParse(address)) throw new UsageError(`--target ${text}: not a URL`)
  const url = new URL(address)
  return { label: labelled?.[1] ?? url.host, url }
}

/** Gives values to targets: those written `label=value` by label, the others in the order of the targets left. */
export function assign(option: string, values: readonly string[], labels: readonly string[]): Map<string, string> {
  const assigned = new Map<string, string>()
  const unlabelled: string[] = []
  for (const value of values) {
    const label = labels.find((name) => value.startsWith(`${name}=`))
    if (label === undefined) unlabelled.push(value)
    else assigned.set(label, value.slice(label.length + 1))
  }
  const free = labels.filter((label) => !assigned.has(label))
  if (unlabelled.length > free.length) throw new UsageError(`${option}: more values than targets`)
  unlabelled.forEach((value, index) => assigned.set(free[index]!, value))
  return assigned
}

/** One secret without a label serves all targets. */
function sharedByAll(secrets: readonly string[], labels: readonly string[]): readonly string[] {
  const [only] = secrets
  if (secrets.length !== 1 || only === undefined || labels.some((label) => only.startsWith(`${label}=`))) return secrets
  return labels.map(() => only)
}

/** @throws UsageError unless it is `http:` and every address of its host is a loopback address */
export async function loopbackEndpoint(url: URL): Promise<Endpoint> {
  if (url.protocol !== 'http:') throw new UsageError(`${url.href}: only plain http is spoken`)
  const address = await loopbackAddress(url.hostname.replace(/^\[|\]$/g, ''))
  return { address, port: Number(url.port || 80), host: url.host, basePath: url.pathname.replace(/\/+$/, '') }
}

/** Returns the URL when it leads to a unix socket or a loopback address. @throws UsageError otherwise */
export async function loopbackDatabase(url: string): Promise<string> {
  const { host } = new pg.Client({ connectionString: url })
  if (!host.startsWith('/')) await loopbackAddress(host)
  return url
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

async function loopbackAddress(host: string): Promise<string> {
  const addresses = await lookup(host, { all: true }).catch(() => {
    throw new UsageError(`${host}: no such host`)
  })
  const remote = addresses.find(({ address }) => !loopback.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
  if (remote !== undefined) throw new UsageError(`${host} is not this machine: load is sent to loopback addresses only`)
  return (addresses.find(({ family }) => family === 4) ?? addresses[0]!).address
}

function processId(text: string): number {
  const pid = Number(text)
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new UsageError(`--pid ${text}: not a process id`)
  if (!existsSync(`/proc/${pid}`)) throw new UsageError(`--pid ${text}: no such process (memory is read from /proc)`)
  return pid
}
