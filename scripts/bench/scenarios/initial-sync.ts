/**
 * `initial-sync`: users who are in R rooms of M members each ask for their first sync. Every request carries a filter
 * that selects the same and was never seen before, so that no answer is a remembered one.
 */

import { randomBytes } from 'node:crypto'
import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { Connection, requestText } from '../http/connection.js'
import { cpuSecondsOf, memoryOf } from '../machine.js'
import { sendPath, syncPath, uncachedFilter, type Account } from '../matrix.js'
import type { Population } from '../population.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { median, percentile, quotient, type Figures } from '../stats.js'
import { UsageError, type Target } from '../target.js'

export interface InitialSyncOptions {
  readonly users: number
  readonly rooms: number
  readonly members: number
  /** Messages in each room. */
  readonly messages: number
  /** Syncs under way at a time. */
  readonly concurrency: number
}

const columns: Column[] = [
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
  { key: 'rate', title: 'syncs/s', digits: 1 },
  { key: 'kilobytes', title: 'KB/sync', digits: 1 },
  { key: 'serverCpu', title: 'server ms/sync', digits: 2 },
  { key: 'rss', title: 'RSS MB', digits: 0 },
]

export const initialSync: Scenario<InitialSyncOptions> = {
  name: 'initial-sync',
  columns,
  async prepare(bench) {
    if (bench.options.members < bench.options.users) throw new UsageError('--members: fewer than --users')
    return concurrently(bench.targets.length, 1, (index) => initialSyncSubject(bench, bench.targets[index]!))
  },
}

async function initialSyncSubject(bench: Bench<InitialSyncOptions>, target: Target): Promise<Subject> {
  const { options, signal } = bench
  const population = bench.populationOf(target)
  const members = await population.accounts(options.members)
  for (let room = 0; room < options.rooms && !signal.aborted; room++) {
    await talk(population, await population.room(members), members, options.messages)
  }
  const load = new InitialSyncs(target, members.slice(0, options.users), options.concurrency, signal)
  return {
    name: target.label,
    target: target.label,
    errors: load.errors,
    warmUp: () => load.round(1),
    round: () => load.round(options.seconds),
    close: () => load.close(),
  }
}

async function talk(population: Population, roomId: string, members: readonly Account[], messages: number) {
  for (let message = 0; message < messages; message++) {
    const { token } = members[message % members.length]!
    const content = { msgtype: 'm.text', body: `message ${message}` }
    await population.api.call('PUT', sendPath(roomId, `talk.${message}`), token, content)
  }
}

class InitialSyncs {
  readonly errors = new ErrorLog()
  readonly #connections: Connection[]
  readonly #run = randomBytes(4).toString('hex')
  #sequence = 0
  #latencies: number[] = []
  #bytes: number[] = []

  constructor(
    readonly target: Target,
    readonly users: readonly Account[],
    concurrency: number,
    readonly signal: AbortSignal,
  ) {
    this.#connections = Array.from({ length: concurrency }, () => new Connection(target.endpoint, 120_000))
  }

  async round(seconds: number): Promise<Figures> {
    this.#latencies = []
    this.#bytes = []
    const cpu = cpuSecondsOf(this.target.pid)
    const began = performance.now()
    await Promise.all(this.#connections.map((connection) => this.#syncUntil(connection, began + seconds * 1000)))
    const elapsed = (performance.now() - began) / 1000
    const syncs = this.#latencies.length
    return {
      p50: percentile(this.#latencies, 0.5),
      p99: percentile(this.#latencies, 0.99),
      rate: syncs / elapsed,
      kilobytes: quotient(median(this.#bytes), 1000),
      serverCpu: cpu === undefined ? undefined : quotient((cpuSecondsOf(this.target.pid)! - cpu) * 1000, syncs),
      rss: quotient(memoryOf(this.target.pid).rss, 1e6),
    }
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  async #syncUntil(connection: Connection, end: number): Promise<void> {
    while (performance.now() < end && !this.signal.aborted) {
      const answered = await this.#sync(connection)
      if (!answered) await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async #sync(connection: Connection): Promise<boolean> {
    const unique = this.#sequence++
    const { token } = this.users[unique % this.users.length]!
    const path = syncPath(undefined, 0, uncachedFilter(`bench.${this.#run}.${unique}`))
    const began = performance.now()
    try {
      const answer = await connection.request(requestText(this.target.endpoint, 'GET', path, token))
      if (answer.status !== 200) this.errors.addAnswer('GET /sync', answer)
      else this.#record(performance.now() - began, answer.body.length)
      return answer.status === 200
    } catch (cause) {
      this.errors.addCause('GET /sync', cause)
      return false
    }
  }

  #record(latency: number, bytes: number): void {
    this.#latencies.push(latency)
    this.#bytes.push(bytes)
  }
}
