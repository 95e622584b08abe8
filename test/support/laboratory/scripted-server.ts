/**
 * Other servers for tests, as the room engine asks them (src/room/inbound/peers.ts): each plays a peer that holds the
 * events of a laboratory room and answers from them.
 *
 *     const peer = new ScriptedServer('two.example', room.judged)
 *     peer.omit(event)                              // says it does not have it
 *     peer.fails('missingEvents')                   // every such request fails
 *     peer.answers('event', () => 'not JSON')       // lies
 *     const release = peer.holds('stateIds')        // slow: answers when `release()` is called
 *     peer.requests                                 // what it was asked
 */
import type { EventAt, Gap, Peers, PduText, StateEvents, StateIds, VerifyKey } from '../../../src/room/inbound/peers.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { JudgedRoom, LabEvent } from './judged-room.js'
import { labServer } from './servers.js'

type Method = keyof Peers
type Answer<M extends Method> = Awaited<ReturnType<Peers[M]>>

export interface PeerRequest {
  readonly method: Method
  readonly arguments: readonly unknown[]
}

export class ScriptedServer implements Peers {
  readonly requests: PeerRequest[] = []
  private readonly omitted = new Set<string>()
  private readonly lies = new Map<Method, (...asked: never[]) => unknown>()
  private readonly held = new Map<Method, Promise<void>>()

  constructor(
    readonly name: string,
    private readonly room: JudgedRoom,
  ) {}

  omit(...events: readonly LabEvent[]): this {
    for (const { eventId } of events) this.omitted.add(eventId)
    return this
  }

  fails(method: Method, message = `${this.name} does not answer`): this {
    this.lies.set(method, () => {
      throw new Error(message)
    })
    return this
  }

  /** Instead of the truth. `room` can be asked for what the truth would have been. */
  answers<M extends Method>(method: M, lie: (...asked: Parameters<Peers[M]>) => Answer<M>): this {
    this.lies.set(method, lie)
    return this
  }

  honestly(method: Method): this {
    this.lies.delete(method)
    return this
  }

  /** Requests wait until the returned function is called, or until who asks gives up. */
  holds(method: Method): () => void {
    let release!: () => void
    this.held.set(method, new Promise((resolve) => (release = resolve)))
    return () => {
      this.held.delete(method)
      release()
    }
  }

  asked(method: Method): readonly PeerRequest[] {
    return this.requests.filter((request) => request.method === method)
  }

  async event(...asked: Parameters<Peers['event']>): Promise<PduText | undefined> {
    const [, eventId] = asked
    return this.reply('event', asked, () => this.find(eventId)?.text)
  }

  /** Breadth first from `latest`, as the specification says: the nearest are sent where the limit cuts. */
  async missingEvents(...asked: Parameters<Peers['missingEvents']>): Promise<readonly PduText[]> {
    const [, , gap] = asked
    return this.reply('missingEvents', asked, () => this.between(gap).map(({ text }) => text))
  }

  private between({ earliest, latest, limit, minDepth }: Gap): LabEvent[] {
    const seen = new Set<string>(earliest)
    const found: LabEvent[] = []
    let frontier: readonly string[] = latest
    while (frontier.length > 0 && found.length < limit) {
      const next = frontier.flatMap((eventId) => this.find(eventId)?.event.prevEvents ?? [])
      frontier = next.filter((eventId) => !seen.has(eventId) && seen.add(eventId))
      found.push(...this.having(frontier).filter(({ event }) => event.depth >= minDepth))
    }
    return found.slice(0, limit)
  }

  async stateIds(...asked: Parameters<Peers['stateIds']>): Promise<StateIds> {
    const [, , eventId] = asked
    return this.reply('stateIds', asked, () => {
      const state = this.stateBefore(eventId)
      const chain = this.authChain(state)
      return { stateIds: state.map((event) => event.eventId), authChainIds: chain.map((event) => event.eventId) }
    })
  }

  async state(...asked: Parameters<Peers['state']>): Promise<StateEvents> {
    const [, , eventId] = asked
    return this.reply('state', asked, () => {
      const state = this.stateBefore(eventId)
      const texts = (events: readonly LabEvent[]) => events.map(({ text }) => text)
      return { state: texts(state), authChain: texts(this.authChain(state)) }
    })
  }

  async eventAuth(...asked: Parameters<Peers['eventAuth']>): Promise<readonly PduText[]> {
    const [, , eventId] = asked
    return this.reply('eventAuth', asked, () => {
      const event = this.find(eventId)
      if (event === undefined) throw new Error(`${this.name} does not have ${eventId}`)
      return this.authChain([event]).map(({ text }) => text)
    })
  }

  async backfill(...asked: Parameters<Peers['backfill']>): Promise<readonly PduText[]> {
    const [, , eventIds, limit] = asked
    return this.reply('backfill', asked, () => {
      const before = this.between({ earliest: eventIds, latest: eventIds, limit, minDepth: 0 })
      return [...this.having(eventIds), ...before].slice(0, limit).map(({ text }) => text)
    })
  }

  async closestEvent(...asked: Parameters<Peers['closestEvent']>): Promise<EventAt | undefined> {
    const [, , { ts, backwards }] = asked
    return this.reply('closestEvent', asked, () => {
      const times = this.room.all.map(({ eventId, event }) => ({ eventId, ts: event.originServerTs }))
      const inDirection = times.filter((one) => (backwards ? one.ts <= ts : one.ts >= ts))
      return inDirection.toSorted((a, b) => Math.abs(a.ts - ts) - Math.abs(b.ts - ts))[0]
    })
  }

  /** The true keys of every server of the laboratory: this peer may be asked as a notary. */
  async keys(...asked: Parameters<Peers['keys']>): Promise<ReadonlyMap<string, VerifyKey>> {
    const [server, keyIds] = asked
    return this.reply('keys', asked, () => {
      const { key } = labServer(server)
      const known = keyIds.includes(key.keyId)
      return new Map(known ? [[key.keyId, { key: key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }]] : [])
    })
  }

  async policySignature(...asked: Parameters<Peers['policySignature']>): Promise<string | undefined> {
    return this.reply('policySignature', asked, () => undefined)
  }

  private async reply<M extends Method>(
    method: M,
    asked: Parameters<Peers[M]>,
    truth: () => Answer<M>,
  ): Promise<Answer<M>> {
    const signal = asked.at(-1) as AbortSignal
    this.requests.push({ method, arguments: asked.slice(0, -1) })
    const held = this.held.get(method)
    if (held !== undefined) await Promise.race([held, abortOf(signal)])
    signal.throwIfAborted()
    const lie = this.lies.get(method) as ((...asked: Parameters<Peers[M]>) => Answer<M>) | undefined
    return lie === undefined ? truth() : lie(...asked)
  }

  private find(eventId: string): LabEvent | undefined {
    return this.omitted.has(eventId) ? undefined : this.room.find(eventId)
  }

  private having(eventIds: readonly string[]): LabEvent[] {
    return eventIds.map((eventId) => this.find(eventId)).filter((event) => event !== undefined)
  }

  private stateBefore(eventId: string): LabEvent[] {
    const event = this.find(eventId)
    if (event === undefined) throw new Error(`${this.name} does not have ${eventId}`)
    return this.having([...event.stateBefore.values()])
  }

  private authChain(events: readonly LabEvent[]): LabEvent[] {
    const chain = new Map<string, LabEvent>()
    const open = events.flatMap(({ event }) => event.authEvents)
    for (let eventId = open.pop(); eventId !== undefined; eventId = open.pop()) {
      const event = chain.has(eventId) ? undefined : this.find(eventId)
      if (event === undefined) continue
      chain.set(eventId, event)
      open.push(...event.event.authEvents)
    }
    return [...chain.values()]
  }
}

const abortOf = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

/** Several servers as one network: each request goes to the server it names. Of a server that is not there, nothing is known but its keys. */
export function network(...servers: readonly ScriptedServer[]): Peers {
  const byName = new Map(servers.map((server) => [server.name, server]))
  const at = (name: string): ScriptedServer => {
    const server = byName.get(name)
    if (server === undefined) throw new Error(`${name} cannot be reached`)
    return server
  }
  return {
    event: async (...asked) => at(asked[0]).event(...asked),
    missingEvents: async (...asked) => at(asked[0]).missingEvents(...asked),
    stateIds: async (...asked) => at(asked[0]).stateIds(...asked),
    state: async (...asked) => at(asked[0]).state(...asked),
    eventAuth: async (...asked) => at(asked[0]).eventAuth(...asked),
    backfill: async (...asked) => at(asked[0]).backfill(...asked),
    closestEvent: async (...asked) => at(asked[0]).closestEvent(...asked),
    keys: async (...asked) => (byName.get(asked[0]) ?? servers[0]!).keys(...asked),
    policySignature: async (server: string, pdu: JsonObject, signal: AbortSignal) =>
      at(server).policySignature(server, pdu, signal),
  }
}
