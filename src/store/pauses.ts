import { setImmediate as nextTurn } from 'node:timers/promises'

/** In ms. Somebody who waits for several such pieces of work still does not notice. */
const TURN = 8

/**
 * For work on many things of which each is quick: between two of them, `if (pauses.due) await pauses.take()` lets
 * everybody else have their turn.
 */
export class Pauses {
  private since = performance.now()

  get due(): boolean {
    return performance.now() - this.since > TURN
  }

  async take(): Promise<void> {
    await nextTurn()
    this.since = performance.now()
  }
}
