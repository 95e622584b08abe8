import { stateEventsAt } from '../store/state-events.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'
import { strippedTypes } from './stripped-state.js'

/**
 * The state by which a server that is not in the room tells a user of its own what room it is: the same events as in
 * stripped state, but whole. Their texts; `m.room.create` is among them.
 */
export async function stateForOutsider(rooms: Rooms, name: KnownRoom, members: readonly string[]): Promise<string[]> {
  const { head } = await rooms.head(name)
  const keys = [
    ...strippedTypes.map((type) => [type, ''] as const),
    ...members.map((user) => ['m.room.member', user] as const),
  ]
  const events = await stateEventsAt(rooms.deps.stores, name.room, head.state, keys)
  return events.map(({ text }) => text)
}
