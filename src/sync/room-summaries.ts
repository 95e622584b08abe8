/**
 * The `summary` of a joined room: how many are in it, and by whom to name it when it has no name.
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
 */
import { LRUCache } from 'lru-cache'
import type { RoomNumber } from '../protocol/numbers.js'
import type { Rooms } from '../room/rooms.js'
import type { Fact } from '../store/facts.js'
import type { RoomSummary } from '../store/log-writer.js'
import type { RoomName } from '../store/room-names.js'
import { firstMembers, partialRooms, summariesOf, type FirstMembers } from '../store/room-windows.js'
import type { Stores } from '../store/stores.js'

export interface ShownSummary {
  /** undefined: members are still to come. */
  readonly joined: number | undefined
  readonly invited: number | undefined
  /** undefined: the room has a name. */
  readonly heroes: readonly string[] | undefined
}

const HEROES = 5

export class RoomSummaries {
  /** The first members of rooms that have no name. */
  private readonly members = new LRUCache<RoomNumber, FirstMembers>({ max: 2_000 })

  /** The newest reading of a room's first members: who came or went meanwhile ends it, and it is not kept. */
  private readonly reading = new Map<RoomNumber, object>()

  constructor(
    private readonly stores: Stores,
    private readonly rooms: Rooms,
  ) {}

  /** Called for every fact in the order of the log. */
  follow(fact: Fact): void {
    if (fact.kind !== 'membership') return
    this.members.delete(fact.room)
    this.reading.delete(fact.room)
  }

  /** Of rooms a client has not seen: a statement or two for all of them. */
  async ofMany(rooms: readonly RoomNumber[], userId: string): Promise<Map<RoomNumber, ShownSummary>> {
    const summaries = await summariesOf(this.stores.db, rooms)
    const nameless = [...summaries].flatMap(([room, summary]) => (isNameless(summary) ? [room] : []))
    const members = await firstMembers(this.stores.db, nameless, HEROES + 1)
    const partial = await partialRooms(this.stores.db, rooms)
    return new Map(
      [...summaries].map(([room, summary]) => [room, shown(summary, members.get(room), userId, partial.has(room))]),
    )
  }

  async of(name: RoomName, userId: string): Promise<ShownSummary> {
    const { summary, head } = await this.rooms.head(name)
    const members = isNameless(summary) ? await this.firstMembers(name.room) : undefined
    return shown(summary, members, userId, head.partialJoin !== undefined)
  }

  private async firstMembers(room: RoomNumber): Promise<FirstMembers> {
    const known = this.members.get(room)
    if (known !== undefined) return known
    const reading = {}
    this.reading.set(room, reading)
    const read = (await firstMembers(this.stores.db, [room], HEROES + 1)).get(room)!
    if (this.reading.get(room) === reading) {
      this.reading.delete(room)
      this.members.set(room, read)
    }
    return read
  }
}

const isNameless = ({ name, canonical_alias }: RoomSummary): boolean => name === null && canonical_alias === null

/** The requester is never their own hero. "When no joined or invited members are available", those who left. */
function shown(
  summary: RoomSummary,
  members: FirstMembers | undefined,
  userId: string,
  isPartial: boolean,
): ShownSummary {
  const others = (users: readonly string[]) => users.filter((user) => user !== userId).slice(0, HEROES)
  const present = members && others(members.present)
  const heroes = present?.length === 0 ? others(members!.gone) : present
  if (isPartial) return { joined: undefined, invited: undefined, heroes }
  return { joined: summary.joined_members, invited: summary.invited_members, heroes }
}

export function summaryText({ joined, invited, heroes }: ShownSummary): string {
  return JSON.stringify({ 'm.joined_member_count': joined, 'm.invited_member_count': invited, 'm.heroes': heroes })
}
