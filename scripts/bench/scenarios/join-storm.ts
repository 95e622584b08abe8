/**
 * `join-storm`: J accounts join one room. Each join is timed, the last thousand are compared with the first, and with a
 * database URL the bytes are counted that the tables have grown by. Every round has a new room and the same accounts.
 */

import { concurrently } from '../concurrently.js'
import { growth, tableSizes, total, type TableSizes } from '../database-growth.js'
import { ErrorLog } from '../errors.js'
import { Connection, requestText } from '../http/connection.js'
import { cpuSecondsOf } from '../machine.js'
import { joinPath, type Account } from '../matrix.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { percentile, quotient, type Figures } from '../stats.js'
import type { Target } from '../target.js'

export interface JoinStormOptions {
  readonly joins: number
  readonly concurrency: number
  /** Also growth by table. */
  readonly verbose: boolean
}

const TABLE_PREFIX = 'table '

const columns: Column[] = [
  { key: 'rate', title: 'joins/s', digits: 0 },
  { key: 'p50', title: 'p50 ms', digits: 2 },
  { key: 'p99', title: 'p99 ms', digits: 2 },
  { key: 'first', title: 'first ms/join', digits: 2 },
  { key: 'last', title: 'last ms/join', digits: 2 },
  { key: 'lastToFirst', title: 'last ÷ first', digits: 2 },
  { key: 'bytes', title: 'DB bytes/join', digits: 0 },
  { key: 'serverCpu', title: 'server µs/join', digits: 0 },
]

export const joinStorm: Scenario<JoinStormOptions> = {
  name: 'join-storm',
  columns,
  prepare: (bench) => concurrently(bench.targets.length, 1, (index) => joinStormSubject(bench, bench.targets[index]!)),
  details: ({ name, medians }) => {
    const tables = Object.entries(medians).filter(([key]) => key.startsWith(TABLE_PREFIX))
    if (tables.length === 0) return []
    const rows = tables
      .sort(([, a], [, b]) => (b ?? 0) - (a ?? 0))
      .map(([key, bytes]) => [`  ${key.slice(TABLE_PREFIX.length)}`, (bytes ?? 0).toFixed(1)])
    return [[`${name}, by table`, 'bytes/join'], ...rows]
  },
}

async function joinStormSubject(bench: Bench<JoinStormOptions>, target: Target): Promise<Subject> {
  const { joins, concurrency, verbose } = bench.options
  const population = bench.populationOf(target)
  const [creator, ...accounts] = await population.accounts(joins + 1)
  const errors = new ErrorLog()
  const connections = Array.from({ length: concurrency }, () => new Connection(target.endpoint, 120_000))
  return {
    name: target.label,
    target: target.label,
    errors,
    async round() {
      const roomId = await population.room([creator!])
      const before = target.databaseUrl === undefined ? undefined : await tableSizes(target.databaseUrl)
      const figures = await storm(bench, target, roomId, accounts, connections, errors)
      if (before === undefined) return figures
      return { ...figures, ...grown(before, await tableSizes(target.databaseUrl!), joins, verbose) }
    },
    close: () => connections.forEach((connection) => connection.close()),
  }
}

/** All accounts join, each connection the next one as soon as it is free. */
async function storm(
  { progress, signal }: Bench<JoinStormOptions>,
  target: Target,
  roomId: string,
  accounts: readonly Account[],
  connections: readonly Connection[],
  errors: ErrorLog,
): Promise<Figures> {
  const latencies: number[] = []
  const ends: number[] = []
  const cpu = cpuSecondsOf(target.pid)
  const began = performance.now()
  const free = [...connections]
  await concurrently(accounts.length, connections.length, async (index) => {
    if (signal.aborted) return
    progress.show(`${target.label}: join ${index + 1} of ${accounts.length}`)
    const connection = free.pop()!
    const start = performance.now()
    if (await join(connection, roomId, accounts[index]!, errors)) {
      latencies.push(performance.now() - start)
      ends.push(performance.now() - began)
    }
    free.push(connection)
  })
  const used = cpu === undefined ? undefined : (cpuSecondsOf(target.pid)! - cpu) * 1e6
  return { ...timing(latencies, ends), serverCpu: quotient(used, ends.length) }
}

async function join(connection: Connection, roomId: string, { token }: Account, errors: ErrorLog): Promise<boolean> {
  try {
    const answer = await connection.request(requestText(connection.endpoint, 'POST', joinPath(roomId), token, '{}'))
    if (answer.status !== 200) errors.addAnswer('POST /join', answer)
    return answer.status === 200
  } catch (cause) {
    errors.addCause('POST /join', cause)
    return false
  }
}

/** `ends` are the milliseconds from the beginning at which joins were done, in order. */
export function timing(latencies: readonly number[], ends: readonly number[]): Figures {
  const width = Math.min(1000, Math.floor(ends.length / 2))
  const first = quotient(ends[width - 1], width)
  const last = quotient((ends.at(-1) ?? NaN) - (ends.at(-1 - width) ?? 0), width)
  return {
    rate: quotient(ends.length * 1000, ends.at(-1)),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    first,
    last,
    lastToFirst: quotient(last, first),
  }
}

function grown(before: TableSizes, after: TableSizes, joins: number, verbose: boolean): Figures {
  const byTable = verbose ? growth(before, after).map(([name, bytes]) => [TABLE_PREFIX + name, bytes / joins]) : []
  return { bytes: (total(after) - total(before)) / joins, ...Object.fromEntries(byTable) }
}
