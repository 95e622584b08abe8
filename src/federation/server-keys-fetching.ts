import { LRUCache } from 'lru-cache'
import { TokenBuckets, type Rate } from '../accounts/token-bucket.js'
import { Slots } from '../slots.js'
import type { KeyAnswer } from '../store/server-keys.js'
import { Unreachable, type Remote } from './remote.js'
import { readKeyAnswer } from './server-keys-answer.js'

/**
 * Asking servers for their keys. Anybody can make us ask anybody, with a header or an event that names a server and a
 * key: so a server is asked once at a time whoever waits for it, seldom when it has answered, ever more seldom when it has
 * not, and few servers are asked at once.
 */

/** Of a server that answers. A key that is new to us must not wait long, and a key that nobody has must not ask long. */
const ASKING: Rate = { burst: 5, perSecond: 1 / 60 }
/** Servers that are asked at once. */
const AT_ONCE = 100
/** In ms, from the first failure to the last. */
const FIRST_PAUSE = 10_000
const LONGEST_PAUSE = 10 * 60_000
/** In ms, for a server's answer. */
const TIMEOUT = 10_000
/** A hundred old keys and more. */
const MAX_BYTES = 16 * 1024
/** Servers whose failures are remembered. */
const MAX_FAILURES = 10_000

interface Failures {
  readonly count: number
  readonly until: number
  readonly why: string
}

export class KeyFetching {
  readonly #underWay = new Map<string, Promise<KeyAnswer>>()
  readonly #failures = new LRUCache<string, Failures>({ max: MAX_FAILURES })
  readonly #asked: TokenBuckets
  readonly #slots = new Slots(AT_ONCE)
  readonly #closing = new AbortController()

  constructor(
    private readonly remote: Pick<Remote, 'unsigned'>,
    private readonly now: () => number,
    /** Before anybody hears of an answer. */
    private readonly keep: (answer: KeyAnswer) => Promise<void>,
    /** What others say of a server that does not answer; undefined: nothing that is new. */
    private readonly elsewhere: (server: string, signal: AbortSignal) => Promise<KeyAnswer | undefined>,
  ) {
    this.#asked = new TokenBuckets(ASKING, MAX_FAILURES, now)
  }

  /** Undefined when the server has answered often enough of late. @throws Unreachable */
  fetch(server: string): Promise<KeyAnswer> | undefined {
    const underWay = this.#underWay.get(server)
    if (underWay !== undefined) return underWay
    const failures = this.#failures.get(server)
    if (failures !== undefined && failures.until > this.now()) throw unreachable(server, failures.why)
    if (this.#asked.take(server) > 0) return undefined

    const fetching = this.#fetch(server).finally(() => this.#underWay.delete(server))
    this.#underWay.set(server, fetching)
    return fetching
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closing.abort(new Unreachable('every server', 'this one is stopping'))
    await Promise.allSettled(this.#underWay.values())
  }

  async #fetch(server: string): Promise<KeyAnswer> {
    const answer = await this.#askAnybody(server)
    await this.keep(answer)
    return answer
  }

  /** A server for which others speak is away all the same, and left alone. */
  async #askAnybody(server: string): Promise<KeyAnswer> {
    try {
      const answer = await this.#slots.run(() => this.#ask(server), this.#closing.signal)
      this.#failures.delete(server)
      return answer
    } catch (cause) {
      // The slot is free again: the keys of who is asked now may have to be fetched as well.
      const answer = await this.elsewhere(server, this.#closing.signal)
      if (answer === undefined) throw cause
      return answer
    }
  }

  async #ask(server: string): Promise<KeyAnswer> {
    try {
      const request = { method: 'GET', path: '/_matrix/key/v2/server', timeout: TIMEOUT, maxBytes: MAX_BYTES } as const
      const text = await this.remote.unsigned(server, request, this.#closing.signal)
      return readKeyAnswer(text, server, this.now())
    } catch (cause) {
      this.#closing.signal.throwIfAborted()
      const why = cause instanceof Error ? cause.message : String(cause)
      this.#noteFailure(server, why)
      throw unreachable(server, why, cause)
    }
  }

  #noteFailure(server: string, why: string): void {
    // It is the pause that limits how often a server is asked that does not answer.
    this.#asked.giveBack(server)
    const count = (this.#failures.get(server)?.count ?? 0) + 1
    const pause = Math.min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
    this.#failures.set(server, { count, until: this.now() + pause, why })
  }
}

const unreachable = (server: string, why: string, cause?: unknown) =>
  new Unreachable(server, `its keys cannot be had (${why})`, { cause })
