/** A member that syncs with long polls, one after the other, as clients do. It reads no more than `next_batch`. */

import type { ErrorLog } from './errors.js'
import { Connection, ConnectionClosed, requestText } from './http/connection.js'
import { nextBatch, syncPath, type Account } from './matrix.js'
import type { Target } from './target.js'

const LONG_POLL_MS = 30_000

export class Syncer {
  /** Answers since the start. */
  answers = 0
  #since: string | undefined
  #connection: Connection | undefined

  constructor(
    readonly target: Target,
    readonly account: Account,
    readonly errors: ErrorLog,
    /** Sees the body of every answer. */
    readonly onAnswer: (body: Buffer) => void = () => {},
    readonly longPollMs = LONG_POLL_MS,
  ) {}

  /** Whether a request is under way. */
  get waiting(): boolean {
    return this.#connection?.busy ?? false
  }

  /** The initial sync, without which a long poll has no `since`. Only needed once. */
  async catchUp(): Promise<void> {
    const connection = new Connection(this.target.endpoint)
    try {
      await this.#sync(connection, 0)
    } finally {
      connection.close()
    }
  }

  /** Syncs until `stop`, from where it stopped the last time. */
  start(): void {
    const connection = new Connection(this.target.endpoint, this.longPollMs + 30_000)
    this.#connection = connection
    void this.#loop(connection)
  }

  stop(): void {
    this.#connection?.close()
    this.#connection = undefined
  }

  /** Never rejects. After a failure it waits a moment, so that a dead server is not hammered. */
  async #loop(connection: Connection): Promise<void> {
    while (connection === this.#connection) {
      try {
        await this.#sync(connection, this.longPollMs)
      } catch (cause) {
        if (cause instanceof ConnectionClosed) return
        this.errors.addCause('GET /sync', cause)
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }

  async #sync(connection: Connection, timeoutMs: number): Promise<void> {
    const path = syncPath(this.#since, timeoutMs)
    const answer = await connection.request(requestText(this.target.endpoint, 'GET', path, this.account.token))
    const token = answer.status === 200 ? nextBatch(answer.body) : undefined
    if (token === undefined) {
      this.errors.addAnswer('GET /sync', answer)
      await new Promise((resolve) => setTimeout(resolve, 200))
      return
    }
    this.#since = token
    this.answers++
    this.onAnswer(answer.body)
  }
}
