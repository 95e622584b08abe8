/** What this server answers to others: its keys, its version, and what time it is there. */
import { type OutboundHttp, type Target, textOf } from '../../federation/outbound-http.js'
import { readKeyAnswer } from '../../federation/server-keys-answer.js'
import { isObject, own, ownString, type Json } from '../../protocol/json.js'
import type { SigningKey } from '../../protocol/signing.js'
import { JsonError, parseJson } from '../../protocol/strict-json.js'
import { doubt, type Finding, good, messageOf, skipped, wrong } from './finding.js'

export interface AnswersDeps {
  readonly http: Pick<OutboundHttp, 'request'>
  readonly serverName: string
  /** Undefined before the first start. */
  readonly signingKey: SigningKey | undefined
  /** Of this Hearth. */
  readonly version: string
  readonly now: () => number
}

const limits = { method: 'GET', timeout: 15_000, maxBytes: 64 * 1024 } as const
const HOUR = 3_600_000
/** Beyond the time that an answer takes. Other servers reject nothing for less; people see wrong times. */
const SKEW = 30_000

export async function answerFindings(target: Target, deps: AnswersDeps): Promise<Finding[]> {
  const keys = await ask(target, '/_matrix/key/v2/server', deps)
  if ('failure' in keys) return [wrong(KEYS, `${keys.url}: ${keys.failure}`, PASS_ON)]
  const version = await ask(target, '/_matrix/federation/v1/version', deps)
  return [keysFinding(keys, deps), versionFinding(version, deps.version), clockFinding(keys)]
}

interface Answered {
  readonly url: string
  readonly status: number
  readonly text: string
  /** Of its clock before ours, in ms; undefined where it does not say. */
  readonly skew: number | undefined
}
type Asked = Answered | { readonly url: string; readonly failure: string }

async function ask(target: Target, path: string, { http, now }: AnswersDeps): Promise<Asked> {
  const url = `https://${target.host}${path}`
  try {
    const begun = now()
    const { status, headers, body } = await http.request(target, { ...limits, path })
    const ended = now()
    const text = await textOf(body)
    return { url, status, text, skew: skewOf(headers['date'], begun, ended) }
  } catch (cause) {
    return { url, failure: messageOf(cause) }
  }
}

/** The header has whole seconds, so an answer that is right is at most one early; 0 where it can be right. */
function skewOf(date: string | string[] | undefined, begun: number, ended: number): number | undefined {
  const there = typeof date === 'string' ? Date.parse(date) : NaN
  if (Number.isNaN(there)) return undefined
  if (there > ended) return there - ended
  return there + 1_000 < begun ? there + 1_000 - begun : 0
}

const KEYS = 'Keys'
const PASS_ON =
  'A reverse proxy must pass everything below /_matrix on to LISTEN, with the path and the Host as they came.'

export const WITHOUT_DATABASE =
  'Is the Postgres of DATABASE_URL running, or, where that is empty, the disk of DATA_DIR full? The log says what is wrong. Hearth goes on by itself when its database is back.'

/** As Hearth answers while its database is away; a reverse proxy without a server behind it has no `errcode` to say. */
export function isWithoutDatabase({ status, text }: Pick<Answered, 'status' | 'text'>): boolean {
  const answer = jsonOf(text)
  return status === 503 && isObject(answer) && ownString(answer, 'errcode') !== undefined
}

function keysFinding({ url, status, text }: Answered, { serverName, signingKey, now }: AnswersDeps): Finding {
  if (isWithoutDatabase({ status, text }))
    return wrong(
      KEYS,
      `${url} answers ${status}: a homeserver is there and cannot reach its database`,
      WITHOUT_DATABASE,
    )
  if (status >= 500)
    return wrong(
      KEYS,
      `${url} answers ${status}`,
      `The reverse proxy is there and does not reach Hearth: is Hearth running, and does the proxy go to LISTEN?`,
    )
  if (status !== 200) return wrong(KEYS, `${url} answers ${status}`, PASS_ON)
  try {
    const { keys, validUntil } = readKeyAnswer(text, serverName, now())
    const current = keys.filter(({ isOld }) => !isOld)
    const told = `${current.map(({ keyId }) => keyId).join(', ')}, valid until ${new Date(validUntil).toISOString()}`
    if (signingKey === undefined) return skipped(KEYS, `${url} has ${told}; there is no signing key here to compare`)
    const isOurs = current.some(
      ({ keyId, key }) => keyId === signingKey.keyId && Buffer.compare(key, signingKey.publicKey) === 0,
    )
    if (!isOurs) return wrong(KEYS, `${url} has ${told}; the key here is ${signingKey.keyId}`, OTHER_KEY)
    if (validUntil < now() + HOUR / 2)
      return wrong(
        KEYS,
        told,
        'Other servers take it for expired, or soon will: is the clock right (`timedatectl`), and does a cache stand before Hearth? Answers below /_matrix are not to be cached.',
      )
    return good(KEYS, `${told}: ours`)
  } catch (cause) {
    return wrong(
      KEYS,
      `${url}: ${messageOf(cause)}`,
      `Something else than the Hearth of ${serverName} answers there. ${PASS_ON}`,
    )
  }
}

const OTHER_KEY =
  'Other servers refuse what this one signs. Another Hearth, or the server that had the name before, answers there: lead the name here, or use its signing key (SIGNING_KEY_FILE).'

const VERSION = 'Version'

function versionFinding(asked: Asked, version: string): Finding {
  if ('failure' in asked || asked.status !== 200) {
    const why = 'failure' in asked ? asked.failure : `answers ${asked.status}`
    return wrong(VERSION, `${asked.url}: ${why}`, PASS_ON)
  }
  const told = versionIn(asked.text)
  if (told === `Hearth ${version}`) return good(VERSION, told)
  return doubt(
    VERSION,
    `${told ?? 'no version'} answers; this is Hearth ${version}`,
    'Start the running one anew if it was updated; otherwise another server answers there.',
  )
}

function versionIn(text: string): string | undefined {
  const answer = jsonOf(text)
  const server = isObject(answer) ? own(answer, 'server') : undefined
  if (!isObject(server)) return undefined
  return `${ownString(server, 'name') ?? 'an unknown server'} ${ownString(server, 'version') ?? ''}`
}

function clockFinding({ skew }: Answered): Finding {
  const about = 'Clock'
  if (skew === undefined) return skipped(about, 'the answer has no Date header to compare with')
  if (Math.abs(skew) < SKEW) return good(about, 'what answers there and this machine have the same time')
  const seconds = Math.round(Math.abs(skew) / 1_000)
  return doubt(
    about,
    `what answers there is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} this machine`,
    'One of the two clocks is wrong: turn on NTP (`timedatectl set-ntp true`).',
  )
}

/** Undefined for what is no JSON. */
export function jsonOf(text: string): Json | undefined {
  try {
    return parseJson(text).value
  } catch (cause) {
    if (cause instanceof JsonError) return undefined
    throw cause
  }
}
