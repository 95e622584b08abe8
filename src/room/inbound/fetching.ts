/**
 * Fetching what a PDU needs from peers: one after the other is asked until one has it. What comes is read as any PDU is
 * (checks 1 to 3); PDUs nobody asked for, of other rooms, under other ids, are left where they are and counted.
 */
import { serverNameOf } from '../../protocol/identifiers.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import type { HeldEvent } from '../../store/held-events.js'
import { largestServers } from '../../store/room-servers.js'
import { isPauseDue, pause } from '../../store/pauses.js'
import type { KnownRoom } from '../known-room.js'
import type { Budget } from './asking.js'
import type { InboundDeps } from './inbound-deps.js'
import { keysOfBatch } from './keys-of-batch.js'
import { NotNow } from './not-now.js'
import type { Peers, PduText } from './peers.js'
import { OtherRooms } from './other-rooms.js'
import { isDropped, type Pdu } from './read-pdu.js'
import { checkPdu, readSignedPdu } from './receive-pdu.js'

/** Events whose signatures are checked at once: beginning it is work of its own. */
const VERIFIED_AT_ONCE = 50
/** Events that are asked for one by one, at once. */
const ONE_BY_ONE = 8
/** Servers of the room that are asked after the one that sent the PDU and that of its sender. */
const MORE_SERVERS = 4

export class Fetching {
  private others: Promise<readonly string[]> | undefined
  readonly otherRooms: OtherRooms
  private hasHeard = false

  constructor(
    readonly deps: InboundDeps,
    readonly name: KnownRoom,
    private readonly first: readonly string[],
    readonly budget: Budget,
  ) {
    this.otherRooms = new OtherRooms(name.roomId)
  }

  /** For what a PDU needs: its origin is asked first, then the server of its sender. */
  static forPdu(deps: InboundDeps, name: KnownRoom, origin: string, event: RoomEvent, budget: Budget): Fetching {
    return new Fetching(deps, name, [origin, serverNameOf(event.sender) ?? origin], budget)
  }

  /** @throws NotNow when no server has what `take` takes, with the reason of the last. */
  async firstOf<T>(
    call: (server: string, peers: Peers, signal: AbortSignal) => Promise<T>,
    take: (answer: T) => boolean = () => true,
  ): Promise<T> {
    let last = new NotNow('peers', 'no server to ask')
    for await (const server of this.servers()) {
      this.budget.checkTime()
      try {
        const { asking } = this.deps
        const timeout = asking.timeoutAfter(this.budget.attempts)
        const answer = await asking.ask(server, (peers, signal) => call(server, peers, signal), timeout)
        this.hasHeard = true
        if (take(answer)) return answer
        last = new NotNow('peers', `${server} does not have it`)
      } catch (cause) {
        if (!(cause instanceof NotNow) || cause.kind !== 'peers') throw cause
        last = cause
      }
    }
    throw last
  }

  /** No server that was asked has answered. */
  get heardNothing(): boolean {
    return !this.hasHeard
  }

  private async *servers(): AsyncGenerator<string> {
    const asked = new Set([this.deps.serverName])
    const news = (server: string) => asked.size < asked.add(server).size
    for (const server of this.first) if (news(server)) yield server
    this.others ??= largestServers(this.deps.db, this.name.room, MORE_SERVERS + asked.size)
    for (const server of (await this.others).filter(news).slice(0, MORE_SERVERS)) yield server
  }

  held(eventIds: Iterable<string>): Promise<ReadonlyMap<string, HeldEvent>> {
    return this.deps.held.ask({ room: this.name.room, eventIds: [...new Set(eventIds)] })
  }

  /** Those of the texts that are wanted, read, each once, by their ids. */
  async read(texts: readonly PduText[], isWanted: (event: RoomEvent) => boolean): Promise<Map<string, Pdu>> {
    const { deps, name, budget } = this
    budget.spend(texts)
    deps.counters.fetched += texts.length
    const read = new Map<string, Pdu>()
    for (const text of texts) {
      if (isPauseDue()) await pause()
      const pdu = readSignedPdu(name.rules, name.roomId, text)
      if (isDropped(pdu)) deps.counters.countDropped(pdu.dropped)
      else if (isWanted(pdu.event)) read.set(pdu.event.eventId, pdu)
      else deps.counters.countDropped('not asked for')
    }
    return this.checked(read)
  }

  private async checked(read: ReadonlyMap<string, Pdu>): Promise<Map<string, Pdu>> {
    const { deps, name } = this
    const keys = keysOfBatch(deps.asking, name.rules, [...read.values()])
    const checked = new Map<string, Pdu>()
    // Of a server whose keys cannot be had, the others need not suffer.
    const check = async ([eventId, pdu]: [string, Pdu]) => {
      const result = await checkPdu(deps, name.rules, pdu, keys).catch(unlessNotNow)
      if (result === undefined) return
      if (isDropped(result)) deps.counters.countDropped(result.dropped)
      else checked.set(eventId, result)
    }
    const all = [...read]
    for (let at = 0; at < all.length; at += VERIFIED_AT_ONCE) {
      await Promise.all(all.slice(at, at + VERIFIED_AT_ONCE).map(check))
      if (isPauseDue()) await pause()
    }
    return checked
  }

  /** Events by their ids, one by one; those nobody has, and those of other rooms, are absent. */
  async events(eventIds: readonly string[]): Promise<Map<string, Pdu>> {
    const found = new Map<string, Pdu>()
    for (let at = 0; at < eventIds.length; at += ONE_BY_ONE) {
      const texts = await Promise.all(eventIds.slice(at, at + ONE_BY_ONE).map((eventId) => this.event(eventId)))
      const wanted = new Set(eventIds)
      const read = await this.read(
        texts.filter((text) => text !== undefined),
        ({ eventId }) => wanted.has(eventId),
      )
      for (const [eventId, pdu] of read) found.set(eventId, pdu)
    }
    return found
  }

  private async event(eventId: string): Promise<PduText | undefined> {
    let isOfAnotherRoom = false
    const isIt = (text: PduText | undefined) => {
      if (text === undefined || this.isEvent(text, eventId)) return text !== undefined
      isOfAnotherRoom = this.otherRooms.learn(eventId, text)
      return isOfAnotherRoom
    }
    const text = await this.firstOf((server, peers, signal) => peers.event(server, eventId, signal), isIt).catch(
      unlessNotNow,
    )
    return isOfAnotherRoom ? undefined : text
  }

  /** A peer that answers with another event does not have this one. */
  private isEvent(text: PduText, eventId: string): boolean {
    const pdu = readSignedPdu(this.name.rules, this.name.roomId, text)
    return !isDropped(pdu) && pdu.event.eventId === eventId
  }
}

/** Nobody answers now; what was asked for is simply not there. A budget that is used up ends it all. */
function unlessNotNow(cause: unknown): undefined {
  if (cause instanceof NotNow && cause.kind === 'peers') return undefined
  throw cause
}
