/** `fan-out`: one member sends a message, and the clock runs until all K members of the room have it from their long polls. */

import { randomBytes } from 'node:crypto'
import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { Connection, requestText } from '../http/connection.js'
import { cpuSecondsOf } from '../machine.js'
import { sendPath, type Account } from '../matrix.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { percentile, quotient, type Figures } from '../stats.js'
import { Syncer } from '../syncer.js'
import type { Target } from '../target.js'

export interface FanOutOptions {
  readonly members: number
}

const DELIVERY_TIMEOUT_MS = 30_000

const columns: Column[] = [
  { key: 'p50', title: 'to all p50 ms', digits: 1 },
  { key: 'p99', title: 'to all p99 ms', digits: 1 },
  { key: 'each50', title: 'to one p50 ms', digits: 1 },
  { key: 'messages', title: 'messages/s', digits: 1 },
  { key: 'deliveries', title: 'deliveries/s', digits: 0 },
  { key: 'serverCpu', title: 'server µs/delivery', digits: 0 },
]

export const fanOut: Scenario<FanOutOptions> = {
  name: 'fan-out',
  columns,
  prepare: (bench) => concurrently(bench.targets.length, 1, (index) => fanOutSubject(bench, bench.targets[index]!)),
}

async function fanOutSubject(bench: Bench<FanOutOptions>, target: Target): Promise<Subject> {
  const population = bench.populationOf(target)
  const members = await population.accounts(bench.options.members)
  const roomId = await population.room(members)
  const load = new FanOut(target, members, roomId, bench.signal)
  await load.catchUp()
  return {
    name: target.label,
    target: target.label,
    errors: load.errors,
    warmUp: () => load.round(1),
    round: () => load.round(bench.options.seconds),
    close: () => load.close(),
  }
}

class FanOut {
  readonly errors = new ErrorLog()
  readonly #syncers: Syncer[]
  readonly #connection: Connection
  readonly #run = randomBytes(4).toString('hex')
  #sequence = 0
  #flight: Flight | undefined

  constructor(
    readonly target: Target,
    readonly members: readonly Account[],
    readonly roomId: string,
    readonly signal: AbortSignal,
  ) {
    this.#connection = new Connection(target.endpoint)
    this.#syncers = members.map(
      (account, member) => new Syncer(target, account, this.errors, (body) => this.#flight?.seen(member, body)),
    )
  }

  async catchUp(): Promise<void> {
    await concurrently(this.#syncers.length, 8, (index) => this.#syncers[index]!.catchUp())
  }

  async round(seconds: number): Promise<Figures> {
    for (const syncer of this.#syncers) syncer.start()
    try {
      await this.#deliver() // brings all members to the end of the room, so that their polls wait
      return await this.#measure(seconds)
    } finally {
      for (const syncer of this.#syncers) syncer.stop()
    }
  }

  close(): void {
    this.#connection.close()
  }

  async #measure(seconds: number): Promise<Figures> {
    const cpu = cpuSecondsOf(this.target.pid)
    const began = performance.now()
    const flights: Flight[] = []
    while (performance.now() < began + seconds * 1000 && !this.signal.aborted) flights.push(await this.#deliver())
    const elapsed = (performance.now() - began) / 1000
    const toOne = flights.flatMap(({ latencies }) => latencies)
    const toAll = flights.filter(({ complete }) => complete).map(({ latencies }) => latencies.at(-1)!)
    return {
      p50: percentile(toAll, 0.5),
      p99: percentile(toAll, 0.99),
      each50: percentile(toOne, 0.5),
      messages: flights.length / elapsed,
      deliveries: toOne.length / elapsed,
      serverCpu: cpu === undefined ? undefined : quotient((cpuSecondsOf(this.target.pid)! - cpu) * 1e6, toOne.length),
    }
  }

  /** One message, from the first byte of the request until all have it, or too late. */
  async #deliver(): Promise<Flight> {
    const marker = `bench.${this.#run}.${this.#sequence++}.`
    const flight = new Flight(marker, this.members.length)
    this.#flight = flight
    const late = setTimeout(() => flight.giveUp(), DELIVERY_TIMEOUT_MS)
    const sent = await this.#send(marker)
    if (!sent) flight.giveUp()
    await flight.ended
    clearTimeout(late)
    if (sent && !flight.complete && !this.signal.aborted) {
      this.errors.add(
        `fan-out: ${flight.missing} of ${this.members.length} had no message after ${DELIVERY_TIMEOUT_MS / 1000} s`,
      )
    }
    return flight
  }

  async #send(marker: string): Promise<boolean> {
    const body = JSON.stringify({ msgtype: 'm.text', body: marker })
    const path = sendPath(this.roomId, marker)
    const text = requestText(this.target.endpoint, 'PUT', path, this.members[0]!.token, body)
    try {
      const answer = await this.#connection.request(text)
      if (answer.status !== 200) this.errors.addAnswer('PUT /send', answer)
      return answer.status === 200
    } catch (cause) {
      this.errors.addCause('PUT /send', cause)
      return false
    }
  }
}

/** One message on its way to all members. */
class Flight {
  /** Milliseconds after the beginning, in order of arrival. */
  readonly latencies: number[] = []
  readonly ended: Promise<void>
  #end = () => {}
  readonly #began = performance.now()
  readonly #waiting: Set<number>
  readonly #marker: Buffer

  constructor(marker: string, members: number) {
    this.#marker = Buffer.from(marker)
    this.#waiting = new Set(Array.from({ length: members }, (_, member) => member))
    this.ended = new Promise((resolve) => (this.#end = resolve))
  }

  get complete(): boolean {
    return this.#waiting.size === 0
  }

  get missing(): number {
    return this.#waiting.size
  }

  seen(member: number, body: Buffer): void {
    if (!this.#waiting.has(member) || !body.includes(this.#marker)) return
    this.#waiting.delete(member)
    this.latencies.push(performance.now() - this.#began)
    if (this.complete) this.#end()
  }

  giveUp(): void {
    this.#end()
  }
}
