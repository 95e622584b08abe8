/** Destinations by a script: what each was sent, and how it answers. */
import { Unreachable, type Remote, type RemoteRequest } from '../../../src/federation/remote.js'
import { FederationSender, type SenderConfig } from '../../../src/federation/sender/sender.js'
import { type Logger, silentLogger } from '../../../src/logger.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import type { KnownRoom } from '../../../src/room/known-room.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { labRoom, type Branch } from '../../support/laboratory/index.js'
import { holdRoom, mia, TestClock } from '../../support/inbound.js'
import type { TestDatabase } from '../../support/postgres.js'
import { join, testServer } from '../../support/rooms.js'

export interface SentTransaction {
  readonly server: string
  readonly id: string
  readonly content: JsonObject
}

type Behaviour = (transaction: SentTransaction) => void | Promise<void>

export class Peers implements Pick<Remote, 'request'> {
  /** Every request, answered or not. */
  readonly asked: SentTransaction[] = []
  /** Of servers that do not simply answer. */
  readonly behaviours = new Map<string, Behaviour>()
  readonly most = new Map<string, number>()
  private readonly open = new Map<string, number>()

  async request(server: string, { method, path, content }: RemoteRequest, signal?: AbortSignal): Promise<string> {
    const id = /^\/_matrix\/federation\/v1\/send\/([\w-]+)$/.exec(path)?.[1]
    if (method !== 'PUT' || id === undefined) throw new Error(`${method} ${path} is no transaction`)
    const transaction = { server, id, content: content! }
    this.asked.push(transaction)
    this.count(server, 1)
    try {
      await Promise.race([Promise.resolve(this.behaviours.get(server)?.(transaction)), aborted(signal)])
      return '{"pdus":{}}'
    } finally {
      this.count(server, -1)
    }
  }

  /** The servers do not answer until the returned function is called. */
  hold(server: string): () => void {
    let letGo!: () => void
    const held = new Promise<void>((resolve) => (letGo = resolve))
    this.behaviours.set(server, () => held)
    return () => {
      this.behaviours.delete(server)
      letGo()
    }
  }

  kill(server: string): void {
    this.behaviours.set(server, () => Promise.reject(new Unreachable(server, 'is down')))
  }

  revive(server: string): void {
    this.behaviours.delete(server)
  }

  to(server: string): SentTransaction[] {
    return this.asked.filter((one) => one.server === server)
  }

  /** Bodies of messages, or types and memberships, in the order in which they were sent. */
  said(server: string): Json[] {
    return this.to(server).flatMap(({ content }) => (content.pdus as JsonObject[]).map(wordsOf))
  }

  edus(server: string): JsonObject[] {
    return this.to(server).flatMap(({ content }) => content.edus as JsonObject[])
  }

  private count(server: string, difference: number): void {
    const now = (this.open.get(server) ?? 0) + difference
    this.open.set(server, now)
    this.most.set(server, Math.max(now, this.most.get(server) ?? 0))
  }
}

const aborted = (signal: AbortSignal | undefined) =>
  new Promise<never>((_, reject) => {
    if (signal?.aborted === true) reject(signal.reason as Error)
    signal?.addEventListener('abort', () => reject(signal.reason as Error))
  })

function wordsOf({ type, content, state_key }: JsonObject): Json {
  const { body, membership } = content as JsonObject
  if (typeof body === 'string') return body
  return typeof membership === 'string' ? `${membership} ${String(state_key)}` : (type as string)
}

export interface TestSender {
  readonly sender: FederationSender
  readonly peers: Peers
  readonly clock: TestClock
  close(): Promise<void>
}

export interface TestSenderOptions {
  readonly peers?: Peers
  readonly clock?: TestClock
  readonly config?: Partial<SenderConfig>
  readonly logger?: Logger
}

/** The sender of one process, as it is assembled. */
export function testSender(
  database: Pick<TestDatabase, 'db'>,
  engine: RoomEngine,
  { peers = new Peers(), clock = new TestClock(), config, logger = silentLogger }: TestSenderOptions = {},
): TestSender {
  const sender = new FederationSender({
    db: database.db,
    stores: engine.stores,
    serverName: testServer.name,
    remote: peers,
    logger,
    now: clock.now,
    random: () => 0.5,
    config,
  })
  const end = engine.log.subscribe((facts, origin) => {
    if (origin === 'here') sender.follow(facts)
  })
  return {
    sender,
    peers,
    clock,
    async close() {
      end()
      await sender.close()
    },
  }
}

/** A room of one.example with these members, in which mia, who is of the server under test, may do everything. */
export async function sharedRoom(
  engine: RoomEngine,
  members: readonly string[],
): Promise<{ readonly lab: Branch; readonly room: KnownRoom }> {
  const lab = labRoom({ levels: { users: { [mia]: 100 } }, members })
  const room = await holdRoom(engine, lab)
  await join(engine, room, mia)
  return { lab, room }
}
