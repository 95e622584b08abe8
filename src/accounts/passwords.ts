import { hash, verify, type Options } from '@node-rs/argon2'
import { limitExceeded, unknown } from '../protocol/matrix-error.js'
import { newSecret } from './secrets.js'

/** OWASP's choice for argon2id: 19 MiB, two passes; 17 ms of one core. */
const recommended: Options = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

const MAX_LENGTH = 512
export const MIN_PASSWORD_LENGTH = 10

/** Of those that are chosen on our own pages and command line; clients have rules of their own. */
export const isTooShort = (password: string): boolean => [...password].length < MIN_PASSWORD_LENGTH
export const TOO_SHORT = `The password needs ${MIN_PASSWORD_LENGTH} characters.`

/**
 * Argon2id, a few at a time: hashing runs on the thread pool that files, name look-ups and signatures share, and takes
 * 19 MiB each. Whoever comes when five hundred wait is asked to come back.
 */
export class Passwords {
  readonly #queue: Queue
  #decoy: Promise<string> | undefined

  constructor(
    private readonly cost: Options = recommended,
    { atOnce = 2, waiting = 500 } = {},
  ) {
    this.#queue = new Queue(atOnce, waiting)
  }

  hash(password: string): Promise<string> {
    const text = checked(password)
    return this.#queue.run(() => hash(text, this.cost))
  }

  /** Takes as long for an account without a password, or one that does not exist, so that nobody learns which it is. */
  async matches(password: string, passwordHash: string | undefined): Promise<boolean> {
    const text = checked(password)
    const against = passwordHash ?? (await (this.#decoy ??= this.hash(newSecret())))
    const matches = await this.#queue.run(() => verify(against, text))
    return matches && passwordHash !== undefined
  }
}

/** Keyboards write one character in several ways; NFKC makes them one, as other homeservers do. */
function checked(password: string): string {
  if (password === '') throw unknown('The password is empty')
  if (password.length > MAX_LENGTH) throw unknown(`The password may have ${MAX_LENGTH} characters`)
  return password.normalize('NFKC')
}

/** Runs so many tasks at once, in the order of their coming. */
class Queue {
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(
    private readonly atOnce: number,
    private readonly maxWaiting: number,
  ) {}

  async run<T>(task: () => Promise<T>): Promise<T> {
    await this.#turn()
    try {
      return await task()
    } finally {
      // Who waited takes over the place, so that nobody slips in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }

  #turn(): Promise<void> | void {
    if (this.#running < this.atOnce) {
      this.#running += 1
      return
    }
    if (this.#waiting.length >= this.maxWaiting) throw limitExceeded(2_000)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}
