/**
 * `federated-join`: a room of many members on one Hearth is joined by a user of another: until the join is answered, and
 * until the user sees all members. Each round joins a room of its own, whose members are written into the database, signed.
 * And messages from a client of the one to a client of the other, who waits in `/sync`: one at a time, with a pause.
 */

import { randomBytes } from 'node:crypto'
import { ErrorLog } from '../errors.js'
import { Ground, type Hearth } from '../federation/ground.js'
import { PeakMemory } from '../federation/peak-memory.js'
import { largeRooms } from '../large-rooms/seed.js'
import { createRoom, joinPath, sendPath, type Account } from '../matrix.js'
import type { Population } from '../population.js'
import type { Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { percentile, type Figures } from '../stats.js'
import { Syncer } from '../syncer.js'

export interface FederatedJoinOptions {
  readonly members: number
  /** In a round. */
  readonly messages: number
}

/** Between messages: both servers have nothing to do. */
const PAUSE_MS = 100
const SEEN_WITHIN_MS = 30_000

const columns: Column[] = [
  { key: 'answered', title: 'joined ms', digits: 0 },
  { key: 'complete', title: 'all members ms', digits: 0 },
  { key: 'growth', title: 'RSS growth MB', digits: 0 },
  { key: 'residentGrowth', title: 'of the other', digits: 0 },
  { key: 'p50', title: 'message p50 ms', digits: 1 },
  { key: 'p99', title: 'message p99 ms', digits: 1 },
]

export const federatedJoin: Scenario<FederatedJoinOptions> = {
  name: 'federated-join',
  columns,
  needsNoTarget: true,
  async prepare(bench) {
    const ground = await Ground.prepare()
    try {
      const pair = await Pair.prepare(bench, ground)
      const close = async () => {
        pair.close()
        await ground.close()
      }
      return [await joins(pair, close), await messages(pair)]
    } catch (cause) {
      await ground.close()
      throw cause
    }
  },
}

/** Two servers, each with a user. */
class Pair {
  private constructor(
    readonly bench: Bench<FederatedJoinOptions>,
    readonly resident: Hearth,
    readonly joining: Hearth,
    readonly populations: { readonly resident: Population; readonly joining: Population },
    readonly users: { readonly resident: Account; readonly joining: Account },
  ) {}

  static async prepare(bench: Bench<FederatedJoinOptions>, ground: Ground): Promise<Pair> {
    const [resident, joining] = [await ground.hearth('resident'), await ground.hearth('joining')]
    const populations = { resident: resident.population(bench), joining: joining.population(bench) }
    const [ofResident] = await populations.resident.accounts(1)
    const [ofJoining] = await populations.joining.accounts(1)
    return new Pair(bench, resident, joining, populations, { resident: ofResident!, joining: ofJoining! })
  }

  async join(roomId: string): Promise<void> {
    const path = `${joinPath(roomId)}?via=${encodeURIComponent(this.resident.name)}`
    await this.populations.joining.api.call('POST', path, this.users.joining.token, {})
  }

  close(): void {
    this.populations.resident.close()
    this.populations.joining.close()
  }
}

async function joins(pair: Pair, close: () => Promise<void>): Promise<Subject> {
  const { members, rounds, roomVersion } = pair.bench.options
  const { api } = pair.populations.resident
  const roomIds = await largeRooms({
    databaseUrl: pair.resident.target.databaseUrl,
    rooms: rounds,
    members,
    roomVersion,
    signingKey: pair.resident.signingKey,
    signal: pair.bench.signal,
    advanceLog: () => createRoom(api, pair.users.resident, roomVersion),
    show: (text) => pair.bench.progress.show(text),
  })
  const errors = new ErrorLog()
  const round = async (): Promise<Figures> => {
    const roomId = roomIds.pop()!
    const growth = new PeakMemory(pair.joining.target.pid)
    const residentGrowth = new PeakMemory(pair.resident.target.pid)
    const began = performance.now()
    await pair.join(roomId)
    const answered = performance.now() - began
    const seen = await membersOf(pair, roomId)
    const complete = performance.now() - began
    if (seen !== members + 1) errors.add(`${seen} members are seen, not ${members + 1}`)
    return { answered, complete, growth: growth.growth(), residentGrowth: residentGrowth.growth() }
  }
  return { name: `a room of ${members.toLocaleString('en')} members`, errors, round, close }
}

/** As the user of the joining server is told. */
async function membersOf({ populations, users }: Pair, roomId: string): Promise<number> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/joined_members`
  const { joined } = await populations.joining.api.call('GET', path, users.joining.token)
  return Object.keys(joined as object).length
}

async function messages(pair: Pair): Promise<Subject> {
  const { resident } = pair.users
  const { api } = pair.populations.resident
  const roomId = await createRoom(api, resident, pair.bench.options.roomVersion)
  await pair.join(roomId)
  const run = randomBytes(4).toString('hex')
  const errors = new ErrorLog()
  let seen: { readonly marker: string; readonly resolve: () => void } | undefined
  const syncer = new Syncer(pair.joining.target, pair.users.joining, errors, (body) => {
    if (seen !== undefined && body.includes(seen.marker)) seen.resolve()
  })
  let sequence = 0
  const message = async (): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    const marker = `bench.${run}.${sequence++}.`
    const began = performance.now()
    const isSeen = new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('not seen')), SEEN_WITHIN_MS)
      seen = { marker, resolve: () => resolve(clearTimeout(late)) }
    })
    await api.call('PUT', sendPath(roomId, marker), resident.token, { msgtype: 'm.text', body: marker })
    await isSeen
    return performance.now() - began
  }
  const round = async (): Promise<Figures> => {
    await syncer.catchUp()
    syncer.start()
    const times: number[] = []
    try {
      for (let i = 0; i < pair.bench.options.messages; i++) times.push(await message())
    } catch (cause) {
      errors.addCause('a message', cause)
    } finally {
      syncer.stop()
    }
    return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) }
  }
  return { name: 'a message to the other server', errors, warmUp: round, round, close: () => syncer.stop() }
}
