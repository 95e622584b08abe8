/** Closed-loop senders, one connection each. They drive the targets of `send` and the bare endpoint alike. */

import { randomBytes } from 'node:crypto'
import type { ErrorLog } from './errors.js'
import { Connection, requestText } from './http/connection.js'
import { cpuSecondsOf, memoryOf } from './machine.js'
import { sendPath, type Account } from './matrix.js'
import { percentile, quotient, type Figures } from './stats.js'
import type { Target } from './target.js'

export interface Sender {
  readonly account: Account
  readonly roomId: string
}

export class SendLoad {
  readonly #connections: Connection[]
  readonly #content: string
  /** Makes transaction ids differ between runs. */
  readonly #run = randomBytes(4).toString('hex')
  #sequence = 0
  #latencies: number[] = []

  constructor(
    readonly target: Pick<Target, 'endpoint' | 'pid'>,
    readonly senders: readonly Sender[],
    bodyBytes: number,
    readonly errors: ErrorLog,
    readonly signal: AbortSignal,
  ) {
    this.#connections = senders.map(() => new Connection(target.endpoint))
    const body = 'message '.repeat(Math.ceil(bodyBytes / 8)).slice(0, bodyBytes)
    this.#content = JSON.stringify({ msgtype: 'm.text', body })
  }

  /** `syncsSince` counts the sync answers that the generator has handled in this round besides. */
  async round(seconds: number, syncsSince = () => 0): Promise<Figures> {
    this.#latencies = []
    const serverCpu = cpuSecondsOf(this.target.pid)
    const generatorCpu = process.cpuUsage()
    const began = performance.now()
    await Promise.all(this.senders.map((_, client) => this.#sendUntil(client, began + seconds * 1000)))
    const elapsed = (performance.now() - began) / 1000
    const { user, system } = process.cpuUsage(generatorCpu)
    const sends = this.#latencies.length
    const syncs = syncsSince()
    return {
      rate: sends / elapsed,
      p50: percentile(this.#latencies, 0.5),
      p99: percentile(this.#latencies, 0.99),
      syncs: syncs === 0 ? undefined : syncs / elapsed,
      generatorCpu: quotient(user + system, sends + syncs),
      serverCpu:
        serverCpu === undefined ? undefined : quotient((cpuSecondsOf(this.target.pid)! - serverCpu) * 1e6, sends),
      rss: quotient(memoryOf(this.target.pid).rss, 1e6),
    }
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  async #sendUntil(client: number, end: number): Promise<void> {
    while (performance.now() < end && !this.signal.aborted) {
      const acknowledged = await this.#send(client)
      if (!acknowledged) await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Whether the message was acknowledged. */
  async #send(client: number): Promise<boolean> {
    const { account, roomId } = this.senders[client]!
    const path = sendPath(roomId, `${this.#run}.${this.#sequence++}`)
    const text = requestText(this.target.endpoint, 'PUT', path, account.token, this.#content)
    const began = performance.now()
    try {
      const answer = await this.#connections[client]!.request(text)
      if (answer.status !== 200) this.errors.addAnswer('PUT /send', answer)
      else this.#latencies.push(performance.now() - began)
      return answer.status === 200
    } catch (cause) {
      this.errors.addCause('PUT /send', cause)
      return false
    }
  }
}
