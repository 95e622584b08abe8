/**
 * Federation sender: delivers PDUs and EDUs to destinations, in order, one transaction in flight per destination.
 *
 * What waits is in Postgres and only there, and it is not copied: an event marks its room for each server that is to have
 * it, in the transaction that stores it, and the texts are read when they are sent. EDUs that must not be lost are rows.
 * While a request is open or its outcome unknown, the transaction itself is kept: after a crash the same transaction goes
 * out again with the same id and the same body, and the receiver answers from its memory. Nothing is ever sent that was
 * not committed. Typing and receipts wait in memory, and what was not in a transaction yet goes with the process.
 *
 * Several processes may send. A destination is taken by a lease with an end time, not by a row lock: a lock would hold a
 * connection for as long as a slow server takes to answer. Who finds that another process has the lease writes nothing.
 *
 * A destination that fails is left alone for a growing time, whatever its answer was: "the sending server must wait and
 * retry for a 200 OK response before sending a transaction with a different txnId". What waits for it does not grow
 * meanwhile: a room is marked once. When it returns, rooms that are far behind are told their newest event.
 *
 * Where it is there, and says for hours that it does not take what is in a transaction, waiting does not help, and what
 * comes after would wait for ever. Then what waits goes one by one, and what is refused alone for a day is given up.
 */
import type { JsonObject } from '../../protocol/json.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import type { OpenTransaction, TakenDestination } from '../../store/destinations.js'
import { RemoteError, type Remote } from '../remote.js'
import { retryDelay } from './back-off.js'
import { hasContent, type Queue } from './queue.js'

export interface SendDeps {
  readonly queue: Queue
  readonly remote: Pick<Remote, 'request'>
  /** In ms. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
}

/** What is told of a request while it is under way. */
export interface Asking {
  readonly signal: AbortSignal
  asked(): void
  /** It has failed, or the answer is there. */
  answered(): void
}

export type Outcome =
  | { readonly kind: 'nothing to send' }
  | { readonly kind: 'passed over'; readonly more: boolean }
  | { readonly kind: 'sent'; readonly transaction: OpenTransaction; readonly more: boolean }
  /** It was refused for too long. */
  | {
      readonly kind: 'given up'
      readonly transaction: OpenTransaction
      readonly more: boolean
      readonly cause: unknown
    }
  | {
      readonly kind: 'failed'
      readonly transaction: OpenTransaction
      readonly failures: number
      readonly retryTs: number
      readonly cause: unknown
    }

/** Until the whole answer is there, in ms. Receivers may judge all PDUs before they answer. */
const TIMEOUT = 60_000

/** One transaction. @throws LeaseLost; whatever the request threw when `signal` was aborted. */
export async function sendNext(deps: SendDeps, destination: TakenDestination, asking: Asking): Promise<Outcome> {
  const { queue } = deps
  const transaction = await queue.open(destination)
  if (transaction === undefined) return { kind: 'nothing to send' }
  if (!hasContent(transaction)) {
    return { kind: 'passed over', more: await queue.close({ destination: destination.name, covered: transaction }) }
  }
  try {
    await put(deps, destination.name, transaction, asking)
  } catch (cause) {
    // We are shutting down; this says nothing about the destination.
    if (asking.signal.aborted) throw cause
    return failed(deps, destination, transaction, cause)
  }
  const { id } = transaction
  return {
    kind: 'sent',
    transaction,
    more: await queue.close({ destination: destination.name, id, covered: transaction }),
  }
}

async function put(
  { remote }: SendDeps,
  destination: string,
  { id, body }: OpenTransaction,
  { signal, asked, answered }: Asking,
): Promise<void> {
  const content = parseExactJson(body) as JsonObject
  const path = `/_matrix/federation/v1/send/${encodeURIComponent(id)}`
  asked()
  try {
    await remote.request(destination, { method: 'PUT', path, content, timeout: TIMEOUT }, signal)
  } finally {
    answered()
  }
}

async function failed(
  { queue, now, random }: SendDeps,
  { name, failures: before }: TakenDestination,
  transaction: OpenTransaction,
  cause: unknown,
): Promise<Outcome> {
  const patience = isRefusal(cause) ? patienceWith(transaction, now()) : 'left'
  if (patience === 'none with one') {
    const more = await queue.close({ destination: name, id: transaction.id, isGivenUp: true, covered: transaction })
    return { kind: 'given up', transaction, more, cause }
  }
  const isSplit = patience === 'none with all'
  const failures = before + 1
  const asked = cause instanceof RemoteError ? (cause.retryAfter ?? 0) : 0
  // Somebody else's number: a server that wants to be left alone for longer than an hour is asked again after that.
  const delay = Math.max(retryDelay(failures, random()), Math.min(asked, 3_600_000))
  const retryTs = now() + (isSplit ? 0 : delay)
  await queue.fail({ destination: name, retryTs, error: errorText(cause), isRefusal: isRefusal(cause), isSplit })
  return { kind: 'failed', transaction, failures, retryTs, cause }
}

const HOUR = 3_600_000
/** How long a destination may refuse what is in a transaction before it goes one by one; one, before it is given up. */
const REFUSED_TOGETHER = 6 * HOUR
const REFUSED_ALONE = 24 * HOUR
const REFUSALS = 5

function patienceWith(
  { pdus, edus, refusals, refusedTs }: OpenTransaction,
  nowTs: number,
): 'left' | 'none with all' | 'none with one' {
  const lasts = nowTs - (refusedTs ?? nowTs)
  const isOne = pdus + edus === 1
  if (refusals + 1 < REFUSALS || lasts < (isOne ? REFUSED_ALONE : REFUSED_TOGETHER)) return 'left'
  return isOne ? 'none with one' : 'none with all'
}

/** What says nothing of the content: who we are is doubted, or the endpoint is away, slow or busy. */
const elsewhere = new Set([401, 403, 404, 405, 408, 429])

const isRefusal = (cause: unknown): boolean =>
  cause instanceof RemoteError && cause.status >= 400 && cause.status < 500 && !elsewhere.has(cause.status)

/** What a peer answered may hold anything: U+0000 is no text to Postgres. */
const errorText = (cause: unknown): string =>
  (cause instanceof Error ? cause.message : String(cause)).replaceAll('\0', '').slice(0, 500)
