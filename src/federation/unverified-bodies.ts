/**
 * Bodies of requests of which it is not known yet who signed them. Anybody can send one in the name of a server, and it is
 * held and looked at before it can be refused. Short ones cost nothing much. Of the others one address has so many in
 * work, and all together have so many; who comes to it beyond that waits, with the body unread, and not for long.
 */
import { limitExceeded } from '../protocol/matrix-error.js'
import { Slots, SlotsOfEach } from '../slots.js'

/** In bytes. Most transactions are shorter. */
const SHORT = 64 * 1024
const AT_ONCE = { ofAddress: 4, ofAll: 32 }
/** In ms. */
const PATIENCE = 15_000

export class UnverifiedBodies {
  readonly #all = new Slots(AT_ONCE.ofAll)
  readonly #ofAddress = new SlotsOfEach(AT_ONCE.ofAddress)

  /** `length`: as announced; undefined: it does not say. Throws M_LIMIT_EXCEEDED. */
  async inWork<T>(address: string, length: number | undefined, task: () => Promise<T>): Promise<T> {
    if (length !== undefined && length <= SHORT) return task()
    const patience = AbortSignal.timeout(PATIENCE)
    try {
      return await this.#ofAddress.run(address, () => this.#all.run(task, patience), patience)
    } catch (cause) {
      throw cause === patience.reason ? limitExceeded(1_000) : cause
    }
  }
}
