/**
 * `send`: clients send messages into rooms, each the next one when the last is acknowledged, while all of them sync with
 * long polls. With `--members` the senders' rooms are filled up to those sizes with members who do nothing, and what a
 * send costs in them is compared.
 */

import { concurrently } from '../concurrently.js'
import { ErrorLog } from '../errors.js'
import { BARE_ENDPOINT, floorDatabase, floors } from '../floor/floors.js'
import type { Account } from '../matrix.js'
import type { Measured, Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { SendLoad, type Sender } from '../send-load.js'
import { medianRatio, type Figures } from '../stats.js'
import { Syncer } from '../syncer.js'
import { UsageError, type Target } from '../target.js'

export interface SendOptions {
  readonly clients: number
  readonly rooms: number
  /** False: nobody syncs. */
  readonly sync: boolean
  readonly bodyBytes: number
  /** Sizes of room to compare; empty: the senders are the only members. */
  readonly members: readonly number[]
  readonly floor: boolean
}

const columns: Column[] = [
  { key: 'rate', title: 'sends/s', digits: 0 },
  { key: 'p50', title: 'p50 ms', digits: 2 },
  { key: 'p99', title: 'p99 ms', digits: 2 },
  { key: 'ofBare', title: '% of bare', digits: 0 },
  { key: 'toFirst', title: 'p50 ratio', digits: 2 },
  { key: 'syncs', title: 'syncs/s', digits: 0 },
  { key: 'serverCpu', title: 'server µs/send', digits: 0 },
  { key: 'rss', title: 'RSS MB', digits: 0 },
  { key: 'generatorCpu', title: 'generator µs/request', digits: 0 },
]

export const send: Scenario<SendOptions> = {
  name: 'send',
  columns,
  async prepare(bench) {
    checkOptions(bench.options)
    if (bench.options.floor) floorDatabase(bench.targets)
    const sizes = bench.options.members.length > 0 ? bench.options.members : [undefined]
    const subjects: Subject[] = []
    for (const target of bench.targets) {
      for (const members of sizes) subjects.push(await sendSubject(bench, target, members))
    }
    return bench.options.floor ? [...subjects, ...(await floors(bench))] : subjects
  },
  compare,
}

function checkOptions({ clients, rooms, members }: SendOptions): void {
  if (clients < rooms) throw new UsageError('--clients: fewer than --rooms')
  if (Math.min(...members) < Math.ceil(clients / rooms)) {
    throw new UsageError('--members: a room would have fewer members than clients sending into it')
  }
}

/** The share of the bare endpoint's rate, and the median latency as a multiple of that in the target's first room size. */
function compare(measured: Measured, all: readonly Measured[]): Figures {
  const bare = all.find(({ name }) => name === BARE_ENDPOINT)
  const first = all.find(({ target }) => target !== undefined && target === measured.target)
  const comparable = bare !== undefined && measured.target !== undefined
  const share = comparable ? medianRatio(measured.rounds, bare.rounds, 'rate') : undefined
  return {
    ofBare: share === undefined ? undefined : share * 100,
    toFirst: first && first !== measured ? medianRatio(measured.rounds, first.rounds, 'p50') : undefined,
  }
}

async function sendSubject(bench: Bench<SendOptions>, target: Target, members?: number): Promise<Subject> {
  const { sync, bodyBytes, seconds } = bench.options
  const errors = new ErrorLog()
  const senders = await sendersInRooms(bench, target, members ?? 0)
  const syncers = sync ? senders.map(({ account }) => new Syncer(target, account, errors)) : []
  await concurrently(syncers.length, 8, (index) => syncers[index]!.catchUp())
  const load = new SendLoad(target, senders, bodyBytes, errors, bench.signal)
  return {
    name: members === undefined ? target.label : `${target.label}, ${members.toLocaleString('en')} members`,
    target: target.label,
    errors,
    warmUp: () => roundWithSyncs(load, syncers, 1),
    round: () => roundWithSyncs(load, syncers, seconds),
    close: () => load.close(),
  }
}

/** Client i sends into room i modulo the number of rooms. Each room is filled up to `members`. */
async function sendersInRooms(bench: Bench<SendOptions>, target: Target, members: number): Promise<Sender[]> {
  const { clients, rooms } = bench.options
  const population = bench.populationOf(target)
  const accounts = await population.accounts(clients + Math.max(0, members - Math.floor(clients / rooms)))
  const roomIds = await concurrently(rooms, 1, (room) => population.room(membersOf(room)))
  return accounts.slice(0, clients).map((account, client) => ({ account, roomId: roomIds[client % rooms]! }))

  function membersOf(room: number): Account[] {
    const sending = accounts.slice(0, clients).filter((_, client) => client % rooms === room)
    return [...sending, ...accounts.slice(clients, clients + Math.max(0, members - sending.length))]
  }
}

async function roundWithSyncs(load: SendLoad, syncers: readonly Syncer[], seconds: number): Promise<Figures> {
  const answers = () => syncers.reduce((sum, syncer) => sum + syncer.answers, 0)
  const before = answers()
  for (const syncer of syncers) syncer.start()
  try {
    return await load.round(seconds, () => answers() - before)
  } finally {
    for (const syncer of syncers) syncer.stop()
  }
}
