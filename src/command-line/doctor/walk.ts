/** The way from SERVER_NAME to where other servers connect, walked by the same `Discovery`, with every step written down. */
import { Discovery, type ResolveSrv, type SrvRecord } from '../../federation/discovery.js'
import type { Answer, OutboundHttp, Target } from '../../federation/outbound-http.js'
import { delegatedNameIn } from '../../federation/well-known.js'
import { doubt, type Finding, good, messageOf, skipped } from './finding.js'

type Got = Omit<Answer, 'body'> & { readonly text: string }
type Outcome<T> = { readonly answer: T } | { readonly failure: unknown }

export interface Walk {
  readonly target: Target | undefined
  readonly findings: readonly Finding[]
}

interface Steps {
  wellKnown?: { readonly url: string; readonly outcome: Outcome<Got> }
  readonly srv: { readonly name: string; readonly outcome: Outcome<readonly SrvRecord[]> }[]
}

/** `delegation`: what this server says in its own well-known file, if it has one. */
export async function walk(
  serverName: string,
  { http, resolveSrv, delegation }: { http: Pick<OutboundHttp, 'get'>; resolveSrv: ResolveSrv; delegation?: string },
): Promise<Walk> {
  const steps: Steps = { srv: [] }
  const discovery = new Discovery({
    http: {
      async get(url, limits) {
        const outcome = await outcomeOf(http.get(url, limits))
        steps.wellKnown = { url: url.href, outcome }
        return orThrow(outcome)
      },
    },
    async resolveSrv(name) {
      const outcome = await outcomeOf(resolveSrv(name))
      steps.srv.push({ name, outcome })
      return orThrow(outcome)
    },
  })
  const target = await discovery.find(serverName)
  const leadsThere = target?.places.some(({ host, port }) => `${host}:${port}` === withoutBrackets(delegation)) ?? false
  return { target, findings: [wellKnownFinding(steps, leadsThere ? undefined : delegation), srvFinding(steps, target)] }
}

const withoutBrackets = (name: string | undefined): string | undefined => name?.replace(/[[\]]/g, '')

async function outcomeOf<T>(task: Promise<T>): Promise<Outcome<T>> {
  try {
    return { answer: await task }
  } catch (failure) {
    return { failure }
  }
}

function orThrow<T>(outcome: Outcome<T>): T {
  if ('answer' in outcome) return outcome.answer
  throw outcome.failure
}

const WELL_KNOWN = 'Well-known'

/** `wanted`: where the file ought to lead and nothing else does. */
function wellKnownFinding({ wellKnown }: Steps, wanted: string | undefined): Finding {
  if (wellKnown === undefined) return skipped(WELL_KNOWN, 'not asked for: SERVER_NAME has a port, or is an address')
  const { url, outcome } = wellKnown
  const delegated =
    'answer' in outcome && outcome.answer.status === 200 ? delegatedNameIn(outcome.answer.text) : undefined
  if (delegated !== undefined) return good(WELL_KNOWN, `${url} sends other servers to ${delegated}`)
  const seen = `${url} ${whyNot(outcome)}`
  if (wanted === undefined) return good(WELL_KNOWN, `${seen}; other servers find this one without it`)
  return doubt(
    WELL_KNOWN,
    `${seen}; so other servers do not learn that this one is at ${wanted}`,
    `Let that address answer with {"m.server":"${wanted}"}: by passing /.well-known/matrix to Hearth, or with a file. ` +
      `Or leave it, if the steps below lead here all the same.`,
  )
}

function whyNot(outcome: Outcome<Got>): string {
  if ('failure' in outcome) return `cannot be had (${messageOf(outcome.failure)})`
  const { status } = outcome.answer
  return status === 200 ? 'answers, but not with {"m.server":"name"}' : `answers ${status}`
}

const SRV = 'SRV record'

function srvFinding({ srv }: Steps, target: Target | undefined): Finding {
  const last = srv.at(-1)
  if (last === undefined) return skipped(SRV, 'not looked up: the name has a port, or is an address')
  const failed = srv.find(({ outcome }) => 'failure' in outcome && !isAbsent(outcome.failure))
  const { places = [] } = target ?? {}
  const named = places.map(({ host, port }) => `${host} port ${port}`).join(', ')
  if ('answer' in last.outcome && last.outcome.answer.length > 0) return good(SRV, `${last.name} says ${named}`)
  const none = `no ${srv.map(({ name }) => name).join(' and no ')}; so it is ${named}`
  if (failed === undefined) return good(SRV, none)
  return doubt(
    SRV,
    `${failed.name} cannot be looked up (${messageOf('failure' in failed.outcome && failed.outcome.failure)})`,
    'The name servers of the domain, or the resolver of this machine (/etc/resolv.conf), do not answer. Other servers take that for no record.',
  )
}

const isAbsent = (cause: unknown): boolean => ['ENOTFOUND', 'ENODATA'].includes((cause as { code?: string }).code ?? '')
