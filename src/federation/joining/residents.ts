import { LRUCache } from 'lru-cache'
import { isServerName, serverNameOf } from '../../protocol/identifiers.js'
import type { InboundDeps } from '../../room/inbound/inbound-deps.js'
import { serversTold } from '../../room/invite-state.js'
import { isKnown } from '../../room/known-room.js'
import { membershipIn } from '../../store/memberships.js'
import type { RoomName } from '../../store/room-names.js'
import { largestServers } from '../../store/room-servers.js'

/** Of one request, asked one after the other. */
const MOST_CANDIDATES = 12
/** A server that did not answer is believed to be away so long, in ms. */
const AWAY = 30_000

/** Servers that may be in a room, and which of them are worth asking. */
export class Residents {
  private readonly away = new LRUCache<string, true>({ max: 1_000, ttl: AWAY })

  constructor(private readonly deps: Pick<InboundDeps, 'db' | 'serverName'>) {}

  /** Who invited them is in the room; then whom the client named, who is said to be in it, who was in it when we were. */
  async candidates(
    roomId: string,
    name: RoomName | undefined,
    userId: string,
    via: readonly string[],
  ): Promise<string[]> {
    const { db, serverName } = this.deps
    const membership = name && (await membershipIn(db, name.room, userId))
    const isWaiting = membership?.membership === 'invite' || membership?.membership === 'knock'
    const told = isWaiting ? serversTold(membership) : []
    const residents = name !== undefined && isKnown(name) ? await largestServers(db, name.room, 5) : []
    const named = [...told.slice(0, 1), ...via, ...told, ...residents, serverNameOf(roomId)]
    const servers = named.filter((server): server is string => server !== undefined && isServerName(server))
    return [...new Set(servers)].filter((server) => server !== serverName).slice(0, MOST_CANDIDATES)
  }

  /** Each once. Those that did not answer a moment ago, also while the others are asked, come last. */
  *inTurn(candidates: readonly string[]): Iterable<string> {
    const left = new Set(candidates)
    while (left.size > 0) {
      const [first] = left
      const next = [...left].find((server) => !this.away.has(server)) ?? first!
      left.delete(next)
      yield next
    }
  }

  didNotAnswer(server: string): void {
    this.away.set(server, true)
  }

  answered(server: string): void {
    this.away.delete(server)
  }
}
