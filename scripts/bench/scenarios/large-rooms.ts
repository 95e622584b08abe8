/**
 * `large-rooms`: accounts use many rooms of many members, and the server's process is looked at. What it keeps of them in
 * memory may not exceed what it was told to (CACHE_MB), however many members there are.
 *
 * The rooms are written into the database where they are missing (`large-rooms/seed.ts`), so this is for Hearth only. The
 * accounts join them over the API. A round sends into every room, syncs all accounts for the first time and again after
 * more was sent, and reads the members of some rooms, each round of the next ones.
 */

import { randomBytes } from 'node:crypto'
import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { largeRooms } from '../large-rooms/seed.js'
import { cpuSecondsOf, memoryOf, type Memory } from '../machine.js'
import {
  createRoom,
  joinPath,
  nextBatch,
  sendPath,
  syncPath,
  uncachedFilter,
  type Account,
  type Api,
} from '../matrix.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { percentile, quotient, type Figures } from '../stats.js'
import { UsageError, type Target } from '../target.js'

export interface LargeRoomsOptions {
  readonly rooms: number
  readonly members: number
  readonly users: number
  /** Rooms whose members are read in a round. */
  readonly lists: number
  /** CACHE_MB of the server. */
  readonly cacheMb: number
  /** Nothing but writing the rooms. */
  readonly seed: boolean
}

const MB = 1024 * 1024
/** Requests under way at a time: the figures are of a server in use, not of one under load. */
const WIDTH = 4

const columns: Column[] = [
  { key: 'send', title: 'send p50 ms', digits: 1 },
  { key: 'firstSync', title: 'first sync ms', digits: 0 },
  { key: 'nextSync', title: 'next sync ms', digits: 0 },
  { key: 'memberList', title: '/members ms', digits: 0 },
  { key: 'serverCpu', title: 'server s', digits: 1 },
  { key: 'before', title: 'RSS MB before', digits: 0 },
  { key: 'rss', title: 'RSS MB', digits: 0 },
  { key: 'peak', title: 'peak', digits: 0 },
  { key: 'growth', title: 'growth', digits: 0 },
  { key: 'share', title: 'growth ÷ CACHE_MB', digits: 2 },
  { key: 'pssShare', title: 'of PSS', digits: 2 },
]

export const largeRoomsScenario: Scenario<LargeRoomsOptions> = {
  name: 'large-rooms',
  columns,
  async prepare(bench) {
    for (const { label, pid, databaseUrl } of bench.targets) {
      if (databaseUrl === undefined) throw new UsageError(`large-rooms needs the --database-url of ${label}`)
      if (pid === undefined) throw new UsageError(`large-rooms needs the --pid of ${label}`)
    }
    const subjects = await concurrently(bench.targets.length, 1, (index) => subject(bench, bench.targets[index]!))
    return bench.options.seed ? [] : subjects
  },
}

async function subject(bench: Bench<LargeRoomsOptions>, target: Target): Promise<Subject> {
  const { options, progress, signal } = bench
  const population = bench.populationOf(target)
  const accounts = await population.accounts(options.users)
  const roomIds = await largeRooms({
    ...options,
    databaseUrl: target.databaseUrl!,
    signal,
    advanceLog: () => createRoom(population.api, accounts[0]!, options.roomVersion),
    show: (text) => progress.show(`${target.label}: ${text}`),
  })
  const use = new Use(bench, target, population.api, accounts, roomIds)
  return {
    name: target.label,
    target: target.label,
    errors: use.errors,
    warmUp: () => use.join(),
    round: () => use.round(),
    close: () => use.close(),
  }
}

class Use {
  readonly errors = new ErrorLog()
  readonly #run = randomBytes(4).toString('hex')
  #before: Memory = {}
  #sampling: NodeJS.Timeout | undefined
  #peak = 0
  #sequence = 0
  #nextList = 0

  constructor(
    readonly bench: Bench<LargeRoomsOptions>,
    readonly target: Target,
    readonly api: Api,
    readonly accounts: readonly Account[],
    readonly roomIds: readonly string[],
  ) {}

  /** What the server was before is looked at here: joins are use. */
  async join(): Promise<void> {
    this.#before = memoryOf(this.target.pid)
    this.#sampling = setInterval(() => this.#sample(), 250)
    for (const { token } of this.accounts) {
      await concurrently(this.roomIds.length, WIDTH, async (room) => {
        this.bench.signal.throwIfAborted()
        await this.api.call('POST', joinPath(this.roomIds[room]!), token, {})
      })
    }
  }

  async round(): Promise<Figures> {
    const cpu = cpuSecondsOf(this.target.pid)
    const sends = await this.#sendToAll()
    const first = await this.#syncAll()
    sends.push(...(await this.#sendToAll()))
    const next = await this.#syncAll(first.tokens)
    const lists = await this.#readMembers()
    return {
      send: percentile(sends, 0.5),
      firstSync: percentile(first.times, 0.5),
      nextSync: percentile(next.times, 0.5),
      memberList: percentile(lists, 0.5),
      serverCpu: cpu === undefined ? undefined : cpuSecondsOf(this.target.pid)! - cpu,
      ...this.#memory(),
    }
  }

  close(): void {
    clearInterval(this.#sampling)
  }

  #sendToAll(): Promise<number[]> {
    return concurrently(this.roomIds.length, WIDTH, (room) => {
      const { token } = this.accounts[room % this.accounts.length]!
      const path = sendPath(this.roomIds[room]!, `${this.#run}.${this.#sequence++}`)
      return this.#timed('PUT', path, token, { msgtype: 'm.text', body: `message ${this.#sequence}` })
    })
  }

  /** One account after the other; the first sync when there are no tokens. */
  async #syncAll(tokens: readonly (string | undefined)[] = []) {
    const times: number[] = []
    const next: (string | undefined)[] = []
    for (const [index, { token }] of this.accounts.entries()) {
      const filter = uncachedFilter(`bench.${this.#run}.${this.#sequence++}`)
      times.push(
        await this.#timed('GET', syncPath(tokens[index], 0, filter), token, undefined, (body) => {
          next[index] = nextBatch(body)
        }),
      )
    }
    return { times, tokens: next }
  }

  async #readMembers(): Promise<number[]> {
    const times: number[] = []
    for (let list = 0; list < this.bench.options.lists; list++) {
      const roomId = this.roomIds[this.#nextList++ % this.roomIds.length]!
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/members`
      times.push(await this.#timed('GET', path, this.accounts[0]!.token))
    }
    return times
  }

  /** Milliseconds. */
  async #timed(method: string, path: string, token: string, content?: object, see?: (body: Buffer) => void) {
    this.bench.signal.throwIfAborted()
    const began = performance.now()
    const answer = await this.api.answer(method, path, token, content)
    const time = performance.now() - began
    if (answer.status === 200) see?.(answer.body)
    else this.errors.addAnswer(`${method} ${path.split('?')[0]!.split('/').at(-1)}`, answer)
    return time
  }

  #sample(): void {
    this.#peak = Math.max(this.#peak, memoryOf(this.target.pid).rss ?? 0)
  }

  #memory(): Figures {
    this.#sample()
    const before = this.#before
    const { rss, pss } = memoryOf(this.target.pid)
    const cache = this.bench.options.cacheMb * MB
    const growth = rss === undefined || before.rss === undefined ? undefined : rss - before.rss
    const pssGrowth = pss === undefined || before.pss === undefined ? undefined : pss - before.pss
    return {
      before: quotient(before.rss, MB),
      rss: quotient(rss, MB),
      peak: this.#peak / MB,
      growth: quotient(growth, MB),
      share: quotient(growth, cache),
      pssShare: quotient(pssGrowth, cache),
    }
  }
}
