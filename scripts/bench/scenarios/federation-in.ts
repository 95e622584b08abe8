/**
 * `federation-in`: other servers, scripted, send signed transactions over plain HTTP into rooms that they have joined, until
 * all of it is verified, judged and durable. Each server has one transaction under way, as the specification asks.
 *
 * With `--poisoned` they send at a pace, and the clock of each transaction runs until a member has it from
 * `/sync`: by turns alone, and beside a server that sends events on events nobody has and then does not answer.
 */

import { randomBytes } from 'node:crypto'
import type { JsonObject } from '../../../src/protocol/json.js'
import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { Ground, type Hearth } from '../federation/ground.js'
import { Peer, type PeerRoom } from '../federation/peer.js'
import { cpuSecondsOf, memoryOf } from '../machine.js'
import type { Account } from '../matrix.js'
import type { Population } from '../population.js'
import type { Measured, Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { medianRatio, percentile, quotient, type Figures } from '../stats.js'
import { Syncer } from '../syncer.js'

export interface FederationInOptions {
  readonly peers: number
  /** Of each peer. */
  readonly rooms: number
  /** In a round, over all rooms. */
  readonly events: number
  readonly poisoned: boolean
  /** With `poisoned`: PDUs of all peers together, in a second. */
  readonly pace: number
}

const MOST_PDUS = 50
/** With `--poisoned`: the time from the begin of a peer's transaction to that of its next, in ms. */
const PACE_MS = 200
const POISONED_PACE_MS = 500
const SEEN_WITHIN_MS = 30_000

const columns: Column[] = [
  { key: 'rate', title: 'PDUs/s', digits: 0 },
  { key: 'answer50', title: 'answer p50 ms', digits: 1 },
  { key: 'answer99', title: 'answer p99 ms', digits: 1 },
  { key: 'seen50', title: 'seen p50 ms', digits: 1 },
  { key: 'seen99', title: 'seen p99 ms', digits: 1 },
  { key: 'answerRatio', title: 'answer p99 ÷ alone', digits: 2 },
  { key: 'seenRatio', title: 'seen p99 ÷ alone', digits: 2 },
  { key: 'serverCpu', title: 'server µs/PDU', digits: 0 },
  { key: 'postgresCpu', title: 'Postgres µs/PDU', digits: 0 },
  { key: 'rss', title: 'RSS MB', digits: 0 },
]

export const federationIn: Scenario<FederationInOptions> = {
  name: 'federation-in',
  columns,
  needsNoTarget: true,
  async prepare(bench) {
    const ground = await Ground.prepare()
    try {
      const load = await InboundLoad.prepare(bench, ground)
      const close = async () => {
        await load.close()
        await ground.close()
      }
      return bench.options.poisoned ? await pairOf(load, ground, close) : [all(load, close)]
    } catch (cause) {
      await ground.close()
      throw cause
    }
  },
  compare,
}

function compare(measured: Measured, [alone]: readonly Measured[]): Figures {
  if (alone === undefined || measured === alone) return {}
  return {
    answerRatio: medianRatio(measured.rounds, alone.rounds, 'answer99'),
    seenRatio: medianRatio(measured.rounds, alone.rounds, 'seen99'),
  }
}

function all(load: InboundLoad, close: () => Promise<void>): Subject {
  const { peers, rooms } = load.bench.options
  const name = `${peers} servers, ${peers * rooms} rooms`
  return { name, errors: load.errors, warmUp: () => load.burst(), round: () => load.burst(), close }
}

async function pairOf(load: InboundLoad, ground: Ground, close: () => Promise<void>): Promise<Subject[]> {
  const poison = await Poison.prepare(load, ground)
  const beside = async () => {
    poison.start()
    try {
      return await load.paced()
    } finally {
      await poison.stop()
    }
  }
  const closeAll = async () => {
    await poison.close()
    await close()
  }
  const paced = () => load.paced()
  return [
    { name: 'alone', errors: load.errors, warmUp: paced, round: paced, close: closeAll },
    { name: 'beside a poisoned room', errors: new ErrorLog(), warmUp: beside, round: beside, close: () => {} },
  ]
}

/** A peer with its rooms. */
interface Writer {
  readonly peer: Peer
  readonly rooms: readonly PeerRoom[]
}

class InboundLoad {
  readonly errors = new ErrorLog()
  readonly #syncer: Syncer
  readonly #seen = new Map<string, () => void>()
  readonly #run = randomBytes(4).toString('hex')
  #sequence = 0

  private constructor(
    readonly bench: Bench<FederationInOptions>,
    readonly hearth: Hearth,
    readonly population: Population,
    readonly member: Account,
    readonly writers: readonly Writer[],
  ) {
    this.#syncer = new Syncer(hearth.target, member, this.errors, (body) => this.#look(body))
  }

  static async prepare(bench: Bench<FederationInOptions>, ground: Ground): Promise<InboundLoad> {
    const { peers, rooms, roomVersion } = bench.options
    const hearth = await ground.hearth('hearth')
    const population = hearth.population(bench)
    const [member] = await population.accounts(1)
    const writers = await concurrently(peers, 4, async () => {
      const peer = await Peer.start(ground.authority, hearth)
      const joined: PeerRoom[] = []
      for (let room = 0; room < rooms; room++) {
        joined.push(await peer.join(await population.room([member!]), roomVersion))
      }
      return { peer, rooms: joined }
    })
    return new InboundLoad(bench, hearth, population, member!, writers)
  }

  /** Transactions as large as they may be, one after the other from each peer, until the last event is judged. */
  async burst(): Promise<Figures> {
    const each = Math.ceil(this.bench.options.events / this.writers.length)
    const transactions = this.writers.map((writer) => transactionsOf(writer, each))
    const events = each * this.writers.length
    const before = await this.#stored()
    const { pid } = this.hearth.target
    const cpu = cpuSecondsOf(pid)
    const postgres = await this.hearth.postgresCpuSeconds()
    const answers: number[] = []
    const began = performance.now()
    await Promise.all(
      this.writers.map(async ({ peer }, index) => {
        for (const transaction of transactions[index]!) answers.push(await this.#send(peer, transaction))
      }),
    )
    await this.hearth.until('working off', 'select not exists (select from staged_pdu)')
    const elapsed = (performance.now() - began) / 1_000
    const stored = (await this.#stored()) - before
    if (stored !== events) this.errors.add(`${events - stored} of ${events} events were not accepted`)
    return {
      rate: events / elapsed,
      ...answerFigures(answers),
      serverCpu: cpu === undefined ? undefined : quotient((cpuSecondsOf(pid)! - cpu) * 1e6, events),
      postgresCpu: quotient(((await this.hearth.postgresCpuSeconds()) - postgres) * 1e6, events),
      rss: quotient(memoryOf(pid).rss, 1e6),
    }
  }

  /** A few events at a time, each peer at its pace. */
  async paced(): Promise<Figures> {
    await this.#syncer.catchUp()
    this.#syncer.start()
    const answers: number[] = []
    const seen: number[] = []
    const end = performance.now() + this.bench.options.seconds * 1_000
    try {
      await Promise.all(this.writers.map((writer, index) => this.#pacedBy(writer, index, end, answers, seen)))
    } finally {
      this.#syncer.stop()
    }
    return { ...answerFigures(answers), seen50: percentile(seen, 0.5), seen99: percentile(seen, 0.99) }
  }

  async close(): Promise<void> {
    this.#syncer.stop()
    this.population.close()
    await Promise.all(this.writers.map(({ peer }) => peer.close()))
  }

  async #pacedBy({ peer, rooms }: Writer, index: number, end: number, answers: number[], seen: number[]) {
    const count = Math.min(MOST_PDUS, Math.ceil((this.bench.options.pace * PACE_MS) / 1_000 / this.writers.length))
    let next = performance.now() + (index * PACE_MS) / this.writers.length
    for (let turn = 0; next < end && !this.bench.signal.aborted; turn++) {
      await pause(next - performance.now())
      next = Math.max(next + PACE_MS, performance.now())
      const room = rooms[turn % rooms.length]!
      const marker = `bench.${this.#run}.${this.#sequence++}.`
      const pdus = Array.from({ length: count }, (_, i) => room.say(i === count - 1 ? marker : undefined))
      const transaction = peer.transaction(pdus)
      const began = performance.now()
      const isSeen = new Promise<void>((resolve) => this.#seen.set(marker, resolve))
      answers.push(await this.#send(peer, transaction))
      if (await within(SEEN_WITHIN_MS, isSeen)) seen.push(performance.now() - began)
      else this.errors.add(`not seen within ${SEEN_WITHIN_MS / 1_000} s`)
      this.#seen.delete(marker)
    }
  }

  #look(body: Buffer): void {
    for (const [marker, resolve] of this.#seen) if (body.includes(marker)) resolve()
  }

  /** Milliseconds to the answer. */
  async #send(peer: Peer, transaction: string): Promise<number> {
    const began = performance.now()
    const answer = await peer.send(transaction)
    const took = performance.now() - began
    if (answer.status !== 200) this.errors.addAnswer('PUT /send', answer)
    else if (answer.body.includes('"error"')) this.errors.add(`PUT /send: ${answer.body.toString('utf8', 0, 200)}`)
    return took
  }

  #stored(): Promise<number> {
    return this.hearth.value("select count(*)::int from event where type = 'm.room.message'::bytea and fate = 0")
  }
}

/** What a peer has to say, in turn in its rooms. */
function transactionsOf({ peer, rooms }: Writer, count: number): string[] {
  const pdus = Array.from({ length: count }, (_, index): JsonObject => rooms[index % rooms.length]!.say())
  const transactions: string[] = []
  for (let at = 0; at < count; at += MOST_PDUS) transactions.push(peer.transaction(pdus.slice(at, at + MOST_PDUS)))
  return transactions
}

const answerFigures = (answers: readonly number[]): Figures => ({
  answer50: percentile(answers, 0.5),
  answer99: percentile(answers, 0.99),
})

/** A server whose room nobody can go on with. */
class Poison {
  #stopping: AbortController | undefined
  #sending = Promise.resolve()

  private constructor(
    readonly load: InboundLoad,
    readonly peer: Peer,
    readonly room: PeerRoom,
  ) {}

  static async prepare(load: InboundLoad, ground: Ground): Promise<Poison> {
    const peer = await Peer.start(ground.authority, load.hearth)
    const roomId = await load.population.room([load.member])
    const room = await peer.join(roomId, load.bench.options.roomVersion)
    peer.answers = false
    return new Poison(load, peer, room)
  }

  /** All that a round takes is made beforehand: what holds up the generator would be measured as the server's. */
  start(): void {
    const count = Math.ceil((this.load.bench.options.seconds * 1_000) / POISONED_PACE_MS) + 1
    const transactions = Array.from({ length: count }, () =>
      this.peer.transaction(Array.from({ length: MOST_PDUS }, () => this.room.sayOnNothing())),
    )
    this.#stopping = new AbortController()
    this.#sending = this.#send(transactions, this.#stopping.signal)
  }

  /** Nothing of it is left. */
  async stop(): Promise<void> {
    this.#stopping?.abort()
    await this.#sending
    this.peer.answers = true
    this.peer.release()
    const { hearth } = this.load
    const isQuiet = 'select not exists (select from inbound_lease where room_id = $1)'
    await hearth.client.query('delete from staged_pdu where room_id = $1', [this.room.roomId])
    await hearth.until('giving up', isQuiet, { values: [this.room.roomId] })
    this.peer.answers = false
  }

  close(): Promise<void> {
    return this.peer.close()
  }

  async #send(transactions: readonly string[], signal: AbortSignal): Promise<void> {
    for (const transaction of transactions) {
      if (signal.aborted) return
      await this.peer.send(transaction).catch(() => undefined)
      await pause(POISONED_PACE_MS)
    }
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function within(ms: number, promise: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), ms)))
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
