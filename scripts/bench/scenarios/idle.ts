/**
 * `idle`: K long polls are held, each by an account of its own over a connection of its own, and the server's process is
 * looked at. What a poll costs is what the process has grown since before the first poll of the run, by K: a later round
 * reuses the memory that an earlier one has left behind, so growth within a round would flatter.
 *
 * The accounts' initial syncs come before the first look: what they load is not the price of a held connection. The
 * kernel's socket buffers are not part of a process and not counted.
 */

import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { cpuSecondsOf, memoryOf, openFilesLimit, type Memory } from '../machine.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { quotient, type Figures } from '../stats.js'
import { Syncer } from '../syncer.js'
import { UsageError, type Target } from '../target.js'

export interface IdleOptions {
  readonly polls: number
  /** Accounts the polls are spread over. */
  readonly accounts: number
  /** Members of each of the rooms the accounts are in; 0: they are in none. */
  readonly roomSize: number
}

/** Longer than a round lasts, so that no poll ends by itself. */
const LONG_POLL_MS = 300_000
const SPARE_FILES = 100

const columns: Column[] = [
  { key: 'held', title: 'held', digits: 0 },
  { key: 'rssBefore', title: 'RSS MB before', digits: 1 },
  { key: 'rssHeld', title: 'RSS MB held', digits: 1 },
  { key: 'rssPerPoll', title: 'RSS KB/poll', digits: 1 },
  { key: 'pssPerPoll', title: 'PSS KB/poll', digits: 1 },
  { key: 'rssAfter', title: 'RSS MB after', digits: 1 },
  { key: 'cpu', title: 'CPU % held', digits: 1 },
]

export const idle: Scenario<IdleOptions> = {
  name: 'idle',
  columns,
  async prepare(bench) {
    for (const { label, pid } of bench.targets) {
      if (pid === undefined) throw new UsageError(`idle needs the --pid of ${label}`)
      checkFiles(pid, `the process of ${label}`, bench.options.polls)
    }
    checkFiles('self', 'this process', bench.options.polls)
    return concurrently(bench.targets.length, 1, (index) => idleSubject(bench, bench.targets[index]!))
  },
}

function checkFiles(pid: number | 'self', whose: string, polls: number): void {
  const limit = openFilesLimit(pid)
  if (limit === undefined || limit >= polls + SPARE_FILES) return
  throw new UsageError(`--polls ${polls}: ${whose} may open ${limit} files only (ulimit -n)`)
}

async function idleSubject(bench: Bench<IdleOptions>, target: Target): Promise<Subject> {
  const { polls, accounts, roomSize, seconds } = bench.options
  const population = bench.populationOf(target)
  const users = await population.accounts(Math.min(accounts, polls))
  for (let first = 0; roomSize > 0 && first < users.length; first += roomSize) {
    await population.room(users.slice(first, first + roomSize))
  }
  const errors = new ErrorLog()
  const syncers = Array.from(
    { length: polls },
    (_, poll) => new Syncer(target, users[poll % users.length]!, errors, undefined, LONG_POLL_MS),
  )
  await concurrently(polls, 8, (poll) => {
    bench.progress.show(`${target.label}: initial sync ${poll + 1} of ${polls}`)
    return syncers[poll]!.catchUp()
  })
  await pause(2000, bench.signal)
  const before = memoryOf(target.pid)
  const round = () => hold(syncers, before, target.pid!, seconds, bench.signal)
  return { name: target.label, target: target.label, errors, round, close: () => stopAll(syncers) }
}

async function hold(syncers: readonly Syncer[], before: Memory, pid: number, seconds: number, signal: AbortSignal) {
  for (const [index, syncer] of syncers.entries()) {
    syncer.start()
    if (index % 100 === 99) await pause(20, signal) // the listen queue is short
  }
  await pause(2000, signal)
  const cpu = cpuSecondsOf(pid)
  await pause(seconds * 1000, signal)
  const cpuShare = quotient((cpuSecondsOf(pid) ?? NaN) - (cpu ?? NaN), seconds)
  const held = memoryOf(pid)
  const waiting = syncers.filter((syncer) => syncer.waiting).length
  stopAll(syncers)
  await pause(1000, signal)
  return figures(before, held, memoryOf(pid), waiting, cpuShare)
}

function figures(before: Memory, held: Memory, after: Memory, waiting: number, cpuShare?: number): Figures {
  return {
    held: waiting,
    rssBefore: quotient(before.rss, 1e6),
    rssHeld: quotient(held.rss, 1e6),
    rssAfter: quotient(after.rss, 1e6),
    rssPerPoll: perPoll(before.rss, held.rss, waiting),
    pssPerPoll: perPoll(before.pss, held.pss, waiting),
    cpu: cpuShare === undefined ? undefined : cpuShare * 100,
  }
}

const perPoll = (before: number | undefined, held: number | undefined, polls: number) =>
  before === undefined || held === undefined ? undefined : quotient(held - before, polls * 1000)

function stopAll(syncers: readonly Syncer[]): void {
  for (const syncer of syncers) syncer.stop()
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
  })
}
