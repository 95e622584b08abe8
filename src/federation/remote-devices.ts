/**
 * Keys of other servers' users, for our clients. https://spec.matrix.org/v1.19/server-server-api/#device-management
 *
 * The lists of users who share a room with one of ours are followed, from the first time a client asks for them: they are
 * kept here (src/store/remote-devices.ts), updated by what their servers send (edus/device-lists.ts), and asked for with
 * `GET /user/devices` when an update is missing. While a list is fresh nobody is asked; otherwise the server is, within
 * the time the client waits.
 *
 * A stale list is a row, so that nothing is lost with a process: `resync` takes those whose time has come, by a lease in
 * the row, and a server that does not answer is left alone for a growing time with all its users.
 */
import type { Kysely } from 'kysely'
import type { DeviceLists } from '../accounts/device-lists.js'
import { claimedTexts, type AskedKeys } from '../accounts/own-keys.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { isObject, type JsonObject } from '../protocol/json.js'
import { JsonError, parseExactJson } from '../protocol/strict-json.js'
import { someAtOnce } from '../some-at-once.js'
import {
  follow,
  freshLists,
  postponeLists,
  putList,
  sharingRooms,
  takeDueLists,
  type DueList,
  type RemoteDeviceList,
  type Told,
} from '../store/remote-devices.js'
import type { Log } from '../store/log.js'
import type { Tables } from '../store/tables.js'
import { readClaimedKeys, readQueriedKeys, readUserDevices } from './remote-keys.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from './remote.js'

export interface RemoteDevicesDeps {
  readonly db: Kysely<Tables>
  readonly log: Pick<Log, 'published'>
  readonly remote: Pick<Remote, 'request'>
  readonly serverName: string
  readonly deviceLists: Pick<DeviceLists, 'changed'>
  readonly logger: {
    info(fields: object, message: string): void
    error(fields: object, message: string): void
  }
  /** In ms. */
  readonly now: () => number
}

export interface Failing {
  /** Servers that were asked and did not answer. */
  readonly failures: ReadonlySet<string>
}

/** How long a client's request may take, in ms: what it asks for, up to a limit. */
const TIMEOUT = { usual: 10_000, most: 30_000 }
/** Servers that are asked at once for one request of a client, or in one step of `resync`. */
const SERVERS_AT_ONCE = 20
/** Lists of one step of `resync`; how long nobody else takes them, and how long the step goes on, in ms. */
const STEP = { lists: 200, lease: 90_000, time: 30_000 }
/** Of one request for one list, in ms. */
const RESYNC_TIMEOUT = 20_000
/** Between attempts, in ms. */
const RETRY = { first: 10_000, most: 3_600_000 }

export class RemoteDevices {
  private readonly keeping = new Set<Promise<void>>()

  constructor(private readonly deps: RemoteDevicesDeps) {}

  /** Until what was told is kept. */
  async settled(): Promise<void> {
    await Promise.all(this.keeping)
  }

  /** Lists of the users who were asked for; of whom the answer says nothing, there is none. */
  async query(
    asked: ReadonlyMap<string, readonly string[]>,
    timeout = TIMEOUT.usual,
    signal?: AbortSignal,
  ): Promise<Failing & { readonly lists: ReadonlyMap<string, RemoteDeviceList> }> {
    const { db, serverName, now } = this.deps
    const lists = await freshLists(db, serverName, [...asked.keys()])
    const others = [...asked.keys()].filter((userId) => !lists.has(userId))
    if (others.length === 0) return { lists, failures: new Set() }
    // Who waits for the answer follows at once; if there is none, the list is asked for later.
    const followed = await follow(db, [...(await sharingRooms(db, serverName, others))], now() + RETRY.first)
    const failures = await this.askServers(others, timeout, signal, async (server, userIds, within) => {
      // All devices of whom we follow, so that the answer can be kept.
      const wanted = userIds.map((userId) => [userId, followed.has(userId) ? [] : asked.get(userId)!] as const)
      const answer = await this.ask(server, post('query', { device_keys: Object.fromEntries(wanted) }), within)
      const told = readQueriedKeys(answer, userIds)
      for (const [userId, list] of told) lists.set(userId, list)
      this.keep(told, followed)
    })
    return { lists, failures }
  }

  /** One-time keys as texts, by user; who has none is absent. */
  async claim(
    asked: AskedKeys,
    timeout = TIMEOUT.usual,
    signal?: AbortSignal,
  ): Promise<Failing & { readonly keys: ReadonlyMap<string, string> }> {
    const keys = new Map<string, string>()
    const failures = await this.askServers([...asked.keys()], timeout, signal, async (server, userIds, within) => {
      const ofServer = new Map(userIds.map((userId) => [userId, asked.get(userId)!]))
      const answer = await this.ask(server, post('claim', { one_time_keys: Object.fromEntries(ofServer) }), within)
      for (const [userId, text] of claimedTexts(readClaimedKeys(answer, ofServer))) keys.set(userId, text)
    })
    return { keys, failures }
  }

  /** One step: asks for stale lists whose time has come. Resolves with how many it took. */
  async resync(signal?: AbortSignal): Promise<number> {
    const { db, now } = this.deps
    const nowTs = now()
    const due = await takeDueLists(db, { nowTs, until: nowTs + STEP.lease, limit: STEP.lists })
    await someAtOnce([...byServer(due, ({ server }) => server).values()], SERVERS_AT_ONCE, (lists) =>
      this.resyncAll(lists, nowTs + STEP.time, signal),
    )
    return due.length
  }

  /** Lists of one server. What the time does not suffice for is taken again when the lease ends. */
  private async resyncAll(lists: readonly DueList[], end: number, signal: AbortSignal | undefined): Promise<void> {
    for (const list of lists) {
      if (isAborted(signal) || this.deps.now() > end) return
      try {
        await this.resyncOne(list, signal)
      } catch (cause) {
        if (!isRemoteFault(cause) || isAborted(signal)) throw cause
        const isServers = !(cause instanceof RemoteError) || cause.status >= 500 || cause.status === 429
        await this.postpone(list, isServers ? { server: list.server } : { userId: list.userId }, cause)
        if (isServers) return
      }
    }
  }

  private async resyncOne({ userId, server, version }: DueList, signal: AbortSignal | undefined): Promise<void> {
    const path = `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`
    const asOf = { version, position: this.deps.log.published }
    const answer = await this.ask(server, { method: 'GET', path, timeout: RESYNC_TIMEOUT, maxBytes: MAX_BYTES }, signal)
    const read = readUserDevices(answer, userId)
    if (read === undefined) throw new RemoteError(server, 200, 'M_UNKNOWN', 'this is no list of devices', {})
    await this.put([{ userId, ...read, asOf }])
  }

  private async postpone(
    { userId, server, attempts }: DueList,
    whose: { userId: string } | { server: string },
    cause: Error,
  ): Promise<void> {
    const { db, logger, now } = this.deps
    const delay = Math.min(RETRY.first * 2 ** attempts, RETRY.most)
    await postponeLists(db, whose, now() + delay)
    logger.info({ destination: server, user_id: userId, delay, err: cause }, 'a list of devices could not be had')
  }

  /** The client does not wait for it: a list that is not kept is asked for again. */
  private keep(told: ReadonlyMap<string, RemoteDeviceList>, followed: ReadonlyMap<string, number>): void {
    const kept = Array.from(told).flatMap(([userId, list]): Told[] => {
      const version = followed.get(userId)
      const asOf = { version: version ?? 0, position: this.deps.log.published }
      return version === undefined ? [] : [{ userId, list, streamId: undefined, asOf }]
    })
    const keeping = this.put(kept)
      .catch((cause: unknown) => this.deps.logger.error({ err: cause }, 'lists of devices were not kept'))
      .finally(() => this.keeping.delete(keeping))
    this.keeping.add(keeping)
  }

  private async put(all: readonly Told[]): Promise<void> {
    const { db, deviceLists, now } = this.deps
    const changed: string[] = []
    for (const told of all) {
      if (await db.transaction().execute((trx) => putList(trx, told, now()))) changed.push(told.userId)
    }
    if (changed.length > 0) await deviceLists.changed(...changed)
  }

  /** @throws RemoteError, Unreachable, JsonError */
  private async ask(server: string, request: RemoteRequest, signal: AbortSignal | undefined): Promise<JsonObject> {
    const answer = parseExactJson(await this.deps.remote.request(server, request, signal))
    if (!isObject(answer)) throw new JsonError('wrong-type')
    return answer
  }

  /** Each server with its users, many at once, until the time is over. Resolves with those that failed. */
  private async askServers(
    userIds: readonly string[],
    timeout: number,
    signal: AbortSignal | undefined,
    ask: (server: string, userIds: readonly string[], signal: AbortSignal) => Promise<void>,
  ): Promise<Set<string>> {
    const time = AbortSignal.timeout(Math.min(Math.max(timeout, 1), TIMEOUT.most))
    const within = signal === undefined ? time : AbortSignal.any([time, signal])
    const failures = new Set<string>()
    await someAtOnce(
      [...byServer(userIds, (userId) => serverNameOf(userId)!)],
      SERVERS_AT_ONCE,
      async ([server, ofServer]) => {
        try {
          if (within.aborted) failures.add(server)
          else await ask(server, ofServer, within)
        } catch (cause) {
          if (!isRemoteFault(cause) && !isAbort(cause)) throw cause
          failures.add(server)
        }
      },
    )
    return failures
  }
}

/** Of one answer: a thousand devices with keys of usual size take a megabyte. */
const MAX_BYTES = 8 * 1024 * 1024

const post = (what: 'query' | 'claim', content: JsonObject): RemoteRequest => ({
  method: 'POST',
  path: `/_matrix/federation/v1/user/keys/${what}`,
  content,
  timeout: TIMEOUT.most,
  maxBytes: MAX_BYTES,
})

const isRemoteFault = (cause: unknown): cause is Error =>
  cause instanceof RemoteError || cause instanceof Unreachable || cause instanceof JsonError

const isAbort = (cause: unknown): boolean =>
  cause instanceof Error && (cause.name === 'AbortError' || cause.name === 'TimeoutError')

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true

function byServer<T>(items: readonly T[], serverOf: (item: T) => string): Map<string, T[]> {
  const servers = new Map<string, T[]>()
  for (const item of items) {
    const server = serverOf(item)
    const ofServer = servers.get(server)
    if (ofServer === undefined) servers.set(server, [item])
    else ofServer.push(item)
  }
  return servers
}
