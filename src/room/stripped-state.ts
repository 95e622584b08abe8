/**
 * Stripped state: what somebody who is not in a room is told of it with an invite or a knock.
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
import { strippedText } from '../protocol/stripped-event.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { StoredEvent } from '../store/stored-event.js'

/** Of the state events that say what room it is. */
export const strippedTypes: readonly string[] = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
]

/** A JSON array. With the members that clients show an invite by: who invites and who is invited. */
export function strippedStateOf(
  member: RoomEvent,
  lookUp: (type: string, key: string) => StoredEvent | undefined,
): string {
  const state = [...strippedTypes.map((type) => lookUp(type, '')), lookUp('m.room.member', member.sender)]
  const events = state.flatMap((stored) => (stored === undefined ? [] : [stored.event]))
  return `[${[...events, member].map(strippedText).join(',')}]`
}
