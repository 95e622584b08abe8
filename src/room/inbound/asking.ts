/**
 * Asking peers within limits: a deadline on every call, so many calls at once of one server, so many PDUs and bytes for
 * one PDU that needs them. A server that never answers holds up who asked it and nobody else; who comes to it beyond the
 * limit waits for a turn, no longer than a call may last, and is tried again later.
 */
import { SlotsOfEach } from '../../slots.js'
import { effortOf } from '../resolution/limits.js'
import { NotNow } from './not-now.js'
import type { Peers, VerifyKey } from './peers.js'

export interface AskingLimits {
  /** In ms. */
  readonly timeout: number
  /** Calls under way of one server. */
  readonly atOnce: number
}

export class Asking {
  private readonly turns: SlotsOfEach

  constructor(
    private readonly peers: Peers,
    private readonly limits: AskingLimits,
    private readonly closing: AbortSignal,
  ) {
    this.turns = new SlotsOfEach(limits.atOnce)
  }

  /** What a call may last for what was tried so often in vain, in ms: a large state takes longer than most answers. */
  timeoutAfter(attempts: number): number {
    return this.limits.timeout * effortOf(attempts)
  }

  /** @throws NotNow when the server fails, is too slow, or has enough to answer: then `call` was not begun. */
  async ask<T>(
    server: string,
    call: (peers: Peers, signal: AbortSignal) => Promise<T>,
    timeout = this.limits.timeout,
  ): Promise<T> {
    const patience = AbortSignal.any([this.closing, AbortSignal.timeout(this.limits.timeout)])
    try {
      return await this.turns.run(server, () => this.answer(server, call, timeout), patience)
    } catch (cause) {
      throw cause === patience.reason ? new NotNow('peers', `${server} has enough to answer`, { cause }) : cause
    }
  }

  /**
   * No turn is waited for: those at hand cost no call, and others are fetched once for all who ask, within limits of their
   * own. @throws NotNow
   */
  keys(server: string, keyIds: readonly string[], validAt: number): Promise<ReadonlyMap<string, VerifyKey>> {
    return this.answer(server, (peers, signal) => peers.keys(server, keyIds, validAt, signal), this.limits.timeout)
  }

  private async answer<T>(
    server: string,
    call: (peers: Peers, signal: AbortSignal) => Promise<T>,
    timeout: number,
  ): Promise<T> {
    try {
      return await withDeadline(timeout, this.closing, (signal) => call(this.peers, signal))
    } catch (cause) {
      throw cause instanceof NotNow ? cause : new NotNow('peers', `${server} does not answer`, { cause })
    }
  }
}

/** Whether the call obeys the signal or not. */
async function withDeadline<T>(
  ms: number,
  closing: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ending = new AbortController()
  const end = () => ending.abort()
  const timer = setTimeout(end, ms)
  closing.addEventListener('abort', end)
  if (closing.aborted) end()
  try {
    const ended = new Promise<never>((_, reject) => {
      ending.signal.addEventListener('abort', () => reject(new Error('too slow')))
      if (ending.signal.aborted) reject(new Error('the server is shutting down'))
    })
    return await Promise.race([call(ending.signal), ended])
  } finally {
    clearTimeout(timer)
    closing.removeEventListener('abort', end)
  }
}

export interface BudgetLimits {
  readonly pdus: number
  readonly bytes: number
  /** In ms. */
  readonly time: number
}

/** What one PDU may cost in what it makes us fetch. */
export class Budget {
  private pdus = 0
  private bytes = 0
  private readonly end: number

  constructor(
    private readonly limits: BudgetLimits,
    private readonly now: () => number,
    /** How often the PDU was tried in vain. */
    readonly attempts = 0,
  ) {
    this.end = now() + limits.time
  }

  /** @throws NotNow when it is used up. */
  spend(texts: readonly string[]): void {
    this.pdus += texts.length
    for (const text of texts) this.bytes += text.length
    if (this.pdus > this.limits.pdus) throw new NotNow('budget', `needs more than ${this.limits.pdus} other events`)
    if (this.bytes > this.limits.bytes) throw new NotNow('budget', `needs more than ${this.limits.bytes} bytes`)
    this.checkTime()
  }

  /** @throws NotNow when time is up. */
  checkTime(): void {
    if (this.now() > this.end) throw new NotNow('budget', `needs more than ${this.limits.time} ms`)
  }
}

/** Each attempt may cost twice as much as the one before, up to eight times. */
export function budgetOf(attempts: number, { pdus, bytes, time }: BudgetLimits): BudgetLimits {
  const factor = effortOf(attempts)
  return { pdus: pdus * factor, bytes: bytes * factor, time: time * factor }
}
