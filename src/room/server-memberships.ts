/**
 * What the users of one server were in the states of a room: the strongest of their memberships decides what the server
 * may read. A state may have tens of thousands of members, so those who are joined now are asked first: of a server that
 * takes part in a room, one of them nearly always was joined then, too.
 */
import { strongestMembership } from '../protocol/history-visibility.js'
import { ownString } from '../protocol/json.js'
import type { StateReference } from '../protocol/numbers.js'
import { joinedOfServer } from '../store/memberships.js'
import { whenLoaded } from '../store/missing.js'
import { membersOfServer } from '../store/state-events.js'
import type { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'

/** Users who are asked first. */
const LIKELY = 10

export class ServerMemberships {
  private likely: Promise<readonly string[]> | undefined

  constructor(
    private readonly stores: Stores,
    private readonly view: StateView,
    private readonly server: string,
  ) {}

  async in(state: StateReference): Promise<string | undefined> {
    const { stores, view, server } = this
    this.likely ??= joinedOfServer(stores.db, view.room, server, LIKELY)
    for (const user of await this.likely) {
      const member = await whenLoaded(() => view.stateEvent(state, 'm.room.member', user))
      if (membershipOf(member) === 'join') return 'join'
    }
    return strongestMembership((await membersOfServer(stores, view.room, state, server)).map(membershipOf))
  }
}

const membershipOf = (member: StoredEvent | undefined): string | undefined =>
  member && ownString(member.event.content, 'membership')
