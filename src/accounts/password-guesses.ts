import { limitExceeded } from '../protocol/matrix-error.js'
import { TokenBuckets } from './token-bucket.js'

/**
 * Slows the guessing of passwords. Only wrong ones count: against the account, whether it exists or not, and against the
 * address they come from. Somebody's account can so be kept busy by a stranger, ten seconds an attempt, but not locked:
 * its owner gets their turn, and devices that are logged in are not touched.
 *
 * Each process counts for itself: with several, an attacker who reaches all of them has that many times the attempts.
 */
export class PasswordGuesses {
  readonly #accounts: TokenBuckets
  readonly #addresses: TokenBuckets

  constructor(
    private readonly enabled: boolean,
    now?: () => number,
  ) {
    this.#accounts = new TokenBuckets({ burst: 10, perSecond: 0.1 }, 50_000, now)
    this.#addresses = new TokenBuckets({ burst: 30, perSecond: 0.5 }, 50_000, now)
  }

  /** Throws M_LIMIT_EXCEEDED without looking at the password when there have been too many wrong ones. */
  async attempt(userId: string, address: string, isRight: () => Promise<boolean>): Promise<boolean> {
    if (!this.enabled) return isRight()
    const wait = this.#accounts.take(userId)
    if (wait > 0) throw limitExceeded(wait)
    const waitOfAddress = this.#addresses.take(address)
    if (waitOfAddress > 0) {
      this.#accounts.giveBack(userId)
      throw limitExceeded(waitOfAddress)
    }
    // Taken before the look, so that attempts at the same time do not all see the last token.
    const right = await isRight()
    if (right) {
      this.#accounts.giveBack(userId)
      this.#addresses.giveBack(address)
    }
    return right
  }
}
