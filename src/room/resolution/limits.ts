/**
 * How far the walks through graphs go that peers can cause. Beyond there is no verdict, since a verdict has to be the same on
 * every server: what needed the resolution waits, and is tried again.
 */
export interface ResolutionLimits {
  /** Of one walk. */
  readonly events: number
  /** Of its own work: what it waits for a busy database, and for other rooms, says nothing about the graph. */
  readonly milliseconds: number
}

export const defaultLimits: ResolutionLimits = { events: 10_000, milliseconds: 1_000 }

export class ResolutionTooCostly extends Error {
  override readonly name = 'ResolutionTooCostly'
}

/** What is left of the limits for one resolution. */
export class Budget {
  #events = 0
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

  /** Time that does not count. */
  async waitFor<T>(answer: Promise<T>): Promise<T> {
    const before = this.now()
    try {
      return await answer
    } finally {
      this.#deadline += this.now() - before
    }
  }
}
