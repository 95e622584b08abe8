/**
 * The rooms users are joined to, of anybody whose devices changed or who left a room: who shares a room with whom decides
 * who hears of it. Asked once, then kept up by the log, so that all who sync share the answer.
 */
import { LRUCache } from 'lru-cache'
import type { RoomNumber } from '../protocol/numbers.js'
import type { Fact } from '../store/facts.js'
import type { Log } from '../store/log.js'
import type { Stores } from '../store/stores.js'
import { membershipsAt } from '../store/user-rooms.js'

/** Rooms of all users together, at some 50 bytes each. */
const MAX_ROOMS = 200_000

export class JoinedRooms {
  private readonly rooms = new LRUCache<string, Set<RoomNumber>>({
    maxSize: MAX_ROOMS,
    sizeCalculation: (rooms) => rooms.size + 4,
  })
  private readonly loading = new Map<string, Promise<ReadonlySet<RoomNumber>>>()

  constructor(
    private readonly stores: Stores,
    private readonly log: Log,
  ) {}

  async of(userId: string): Promise<ReadonlySet<RoomNumber>> {
    const known = this.rooms.get(userId)
    if (known !== undefined) return known
    let loading = this.loading.get(userId)
    if (loading === undefined) {
      loading = this.load(userId).finally(() => this.loading.delete(userId))
      this.loading.set(userId, loading)
    }
    return loading
  }

  /** Called for every fact in the order of the log. */
  follow(fact: Fact): void {
    if (fact.kind !== 'membership') return
    const rooms = this.rooms.peek(fact.user)
    if (rooms !== undefined) apply(rooms, fact)
  }

  private async load(userId: string): Promise<ReadonlySet<RoomNumber>> {
    const { log, stores } = this
    for (;;) {
      const position = log.published
      const memberships = await membershipsAt(stores.db, userId, position)
      if (log.horizon > position) continue
      const rooms = new Set(memberships.flatMap(({ room, membership }) => (membership === 'join' ? [room] : [])))
      for (const fact of log.ofUser(userId, position)) if (fact.kind === 'membership') apply(rooms, fact)
      this.rooms.set(userId, rooms)
      return rooms
    }
  }
}

export function meet(left: ReadonlySet<RoomNumber>, right: ReadonlySet<RoomNumber>): boolean {
  const [small, large] = left.size < right.size ? [left, right] : [right, left]
  for (const room of small) if (large.has(room)) return true
  return false
}

function apply(rooms: Set<RoomNumber>, { room, membership }: Extract<Fact, { kind: 'membership' }>): void {
  if (membership === 'join') rooms.add(room)
  else rooms.delete(room)
}
