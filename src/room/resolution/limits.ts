import { isPauseDue, pause } from '../../store/pauses.js'

/**
 * How far resolutions go that peers can cause. Beyond there is no verdict, since a verdict has to be the same on every
 * server: what needed the resolution waits, and is tried again with more.
 */
export interface ResolutionLimits {
  /** That are looked at. */
  readonly events: number
  /** Of the texts of the events that are read. */
  readonly bytes: number
  /** Of its own work: what it waits for a busy database, and for other rooms, says nothing about the graph. */
  readonly milliseconds: number
  /** Of the core, each about a microsecond: it runs on a thread, where the time says more about the machine's load. */
  readonly steps: number
}

export const defaultLimits: ResolutionLimits = {
  events: 10_000,
  bytes: 24 * 1024 * 1024,
  milliseconds: 1_000,
  steps: 1_000_000,
}

export class ResolutionTooCostly extends Error {
  override readonly name = 'ResolutionTooCostly'
}

/** Of one who tries again: how many times as much an attempt may cost as the first. */
export const effortOf = (attempts: number): number => 2 ** Math.min(attempts, 3)

/** Memory grows less than patience does. */
export const withEffort = (limits: ResolutionLimits, effort: number): ResolutionLimits => ({
  events: limits.events * effort,
  bytes: limits.bytes * Math.min(effort, 2),
  milliseconds: limits.milliseconds * effort,
  steps: limits.steps * effort,
})

/** What is left of the limits for one resolution. */
export class Budget {
  #events = 0
  #bytes = 0
  #deadline: number

  constructor(
    private readonly limits: ResolutionLimits,
    private readonly now: () => number,
  ) {
    this.#deadline = now() + limits.milliseconds
  }

  /** How many events may still be looked at. */
  get left(): number {
    return this.limits.events - this.#events
  }

  get steps(): number {
    return this.limits.steps
  }

  /** @throws ResolutionTooCostly */
  spend(events: number): void {
    this.#events += events
    if (this.#events > this.limits.events) {
      throw new ResolutionTooCostly(`a resolution looks at more than ${this.limits.events} events`)
    }
    if (this.now() > this.#deadline) {
      throw new ResolutionTooCostly(`a resolution takes longer than ${this.limits.milliseconds} ms`)
    }
  }

  /** @throws ResolutionTooCostly */
  spendBytes(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.limits.bytes) {
      throw new ResolutionTooCostly(`a resolution reads more than ${this.limits.bytes} bytes`)
    }
  }

  /** In long loops: others have their turn when it is due. */
  async pause(): Promise<void> {
    if (!isPauseDue()) return
    const before = this.now()
    await pause()
    this.#deadline += this.now() - before
  }

  /** Time that does not count; where nothing has to be waited for, others have their turn all the same. */
  async waitFor<T>(answer: Promise<T>): Promise<T> {
    const before = this.now()
    try {
      return await answer
    } finally {
      this.#deadline += this.now() - before
      await this.pause()
    }
  }
}
