/**
 * What `/.well-known/matrix/server` of a host says: the name it is delegated to. Kept for as long as the answer asks,
 * within limits; a host that has none is asked again after a time that grows.
 * https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
 */
import { LRUCache } from 'lru-cache'
import { isServerName } from '../protocol/identifiers.js'
import { isObject, ownString } from '../protocol/json.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import type { Answer, OutboundHttp } from './outbound-http.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const DEFAULT_MS = 24 * HOUR
const LONGEST_MS = 48 * HOUR
/** Where the answer asks for less, or not to be kept at all. */
const SHORTEST_MS = 5 * MINUTE
const FIRST_FAILURE_MS = MINUTE
const LAST_FAILURE_MS = HOUR

const limits = { timeout: 10_000, maxBytes: 50 * 1024, redirects: 5 }

interface Known {
  readonly delegated: string | undefined
  /** When it is to be asked for again. */
  readonly until: number
  /** When it was said. */
  readonly since: number
  /** In a row. */
  readonly failures: number
}

export class WellKnown {
  readonly #http: Pick<OutboundHttp, 'get'>
  readonly #now: () => number
  readonly #known = new LRUCache<string, Known>({ max: 10_000 })
  readonly #asking = new Map<string, Promise<Known>>()

  constructor(http: Pick<OutboundHttp, 'get'>, now: () => number) {
    this.#http = http
    this.#now = now
  }

  /** A server name; undefined where the host says nothing valid. Never throws. */
  async delegatedName(host: string): Promise<string | undefined> {
    const known = this.#known.get(host)
    if (known !== undefined && this.#now() < known.until) return known.delegated
    const asked = this.#asking.get(host) ?? this.#ask(host, known)
    return (await asked).delegated
  }

  #ask(host: string, before: Known | undefined): Promise<Known> {
    const asking = this.#fetch(host, before).finally(() => this.#asking.delete(host))
    this.#asking.set(host, asking)
    return asking
  }

  async #fetch(host: string, before: Known | undefined): Promise<Known> {
    const answer = await this.#get(host)
    const now = this.#now()
    const delegated = answer?.status === 200 ? delegatedNameIn(answer.text) : undefined
    const known =
      answer === undefined || delegated === undefined
        ? failed(now, before, isPassing(answer))
        : { delegated, until: now + lifetime(answer, now), since: now, failures: 0 }
    this.#known.set(host, known)
    return known
  }

  /** Undefined where there is no answer. Not every name that a server may have can stand in a URL. */
  async #get(host: string): Promise<{ status: number; headers: Answer['headers']; text: string } | undefined> {
    try {
      return await this.#http.get(new URL(`https://${host}/.well-known/matrix/server`), limits)
    } catch {
      return undefined
    }
  }
}

/** A host that cannot answer just now has not taken back what it said. */
function failed(now: number, before: Known | undefined, passing: boolean): Known {
  const failures = (before?.failures ?? 0) + 1
  const until = now + Math.min(FIRST_FAILURE_MS * 2 ** (failures - 1), LAST_FAILURE_MS)
  const stands = passing && before?.delegated !== undefined && now < before.since + LONGEST_MS
  return { delegated: stands ? before.delegated : undefined, until, since: stands ? before.since : now, failures }
}

const isPassing = (answer: { readonly status: number } | undefined): boolean =>
  answer === undefined || answer.status === 429 || answer.status >= 500

/** The server name in the text of a file; undefined where there is none. */
export function delegatedNameIn(text: string): string | undefined {
  try {
    const { value } = parseJson(text)
    const name = isObject(value) ? ownString(value, 'm.server') : undefined
    return name !== undefined && isServerName(name) ? name : undefined
  } catch (cause) {
    if (cause instanceof JsonError) return undefined
    throw cause
  }
}

function lifetime({ headers }: Pick<Answer, 'headers'>, now: number): number {
  const asked = maxAge(String(headers['cache-control'] ?? '')) ?? expiry(headers['expires'], now) ?? DEFAULT_MS
  return Math.min(Math.max(asked, SHORTEST_MS), LONGEST_MS)
}

function maxAge(cacheControl: string): number | undefined {
  if (/(?:^|[\s,])no-(?:store|cache)(?:$|[\s,])/i.test(cacheControl)) return 0
  const seconds = /(?:^|[\s,])max-age="?(\d{1,9})/i.exec(cacheControl)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}

/** A date that cannot be read is in the past. */
const expiry = (expires: string | string[] | undefined, now: number): number | undefined =>
  typeof expires === 'string' ? (Date.parse(expires) || now) - now : undefined
