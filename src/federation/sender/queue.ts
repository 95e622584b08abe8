/**
 * What waits for destinations, as one process takes it: many destinations in one statement. What is written is written
 * under the lease of the destination; where it is lost, that destination alone hears of it.
 */
import { Together } from '../../together.js'
import {
  closeTransactions,
  LeaseLost,
  putTransactions,
  recordFailures,
  releaseDestinations,
  takeDestinations,
  transactionInFlight,
  type Closing,
  type Failure,
  type Holder,
  type OpenTransaction,
  type TakenDestination,
} from '../../store/destinations.js'
import { compose, SPLIT, WHOLE, type ComposeDeps } from './compose.js'

/** One statement of a kind at a time; who comes meanwhile goes with the next. */
const LIMITS = { atOnce: 1, most: 100 }

export class Queue {
  private readonly taking = new Together((names: readonly string[]) => this.takeAll(names), LIMITS)
  private readonly opening = new Together((taken: readonly TakenDestination[]) => this.openAll(taken), LIMITS)
  private readonly closing = new Together((closings: readonly Closing[]) => this.closeAll(closings), LIMITS)
  private readonly failing = new Together((failures: readonly Failure[]) => this.failAll(failures), LIMITS)
  private readonly releasing = new Together((names: readonly string[]) => this.releaseAll(names), LIMITS)

  constructor(
    private readonly deps: ComposeDeps,
    private readonly holder: Holder,
  ) {}

  /** undefined: another process sends, or it is not yet time. */
  take(destination: string): Promise<TakenDestination | undefined> {
    return this.taking.ask(destination)
  }

  async release(destination: string): Promise<void> {
    await this.releasing.ask(destination)
  }

  /**
   * The transaction that is on its way, or the next, which is on its way from now on if it has content; undefined: nothing
   * waits. @throws LeaseLost
   */
  async open(taken: TakenDestination): Promise<OpenTransaction | undefined> {
    const known = taken.hasOpen ? await transactionInFlight(this.deps.db, taken.name) : undefined
    return known ?? ofLease(taken.name, await this.opening.ask(taken))
  }

  /** Returns whether more waits. @throws LeaseLost */
  async close(closing: Closing): Promise<boolean> {
    return ofLease(closing.destination, await this.closing.ask(closing))
  }

  /** @throws LeaseLost */
  async fail(failure: Failure): Promise<void> {
    ofLease(failure.destination, await this.failing.ask(failure))
  }

  private async takeAll(names: readonly string[]) {
    const taken = await takeDestinations(this.deps.db, this.holder, names, this.deps.now())
    return names.map((name) => taken.get(name))
  }

  private async openAll(taken: readonly TakenDestination[]) {
    const { db, now } = this.deps
    const named = (isSplit: boolean) => taken.filter((one) => one.isSplit === isSplit).map(({ name }) => name)
    const composed = await compose(this.deps, named(false), WHOLE)
    for (const [name, transaction] of await compose(this.deps, named(true), SPLIT)) composed.set(name, transaction)
    const full = [...composed].filter(([, transaction]) => hasContent(transaction))
    const put = full.length === 0 ? new Set() : await putTransactions(db, this.holder.holder, full, now())
    return taken.map(({ name }) => {
      const transaction = composed.get(name)
      return transaction === undefined || !hasContent(transaction) || put.has(name) ? transaction : lost
    })
  }

  private async closeAll(closings: readonly Closing[]) {
    const closed = await closeTransactions(this.deps.db, this.holder, closings, this.deps.now())
    return closings.map(({ destination }) => closed.get(destination) ?? lost)
  }

  private async failAll(failures: readonly Failure[]) {
    const recorded = await recordFailures(this.deps.db, this.holder.holder, failures, this.deps.now())
    return failures.map(({ destination }) => (recorded.has(destination) ? undefined : lost))
  }

  private async releaseAll(names: readonly string[]) {
    await releaseDestinations(this.deps.db, this.holder.holder, names)
    return names.map(() => undefined)
  }
}

export const hasContent = ({ pdus, edus }: OpenTransaction): boolean => pdus + edus > 0

const lost = Symbol('the lease is lost')

function ofLease<T>(destination: string, result: T | typeof lost): T {
  if (result === lost) throw new LeaseLost(destination)
  return result as T
}
