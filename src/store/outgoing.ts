import { serverNameOf } from '../protocol/identifiers.js'
import { ownString } from '../protocol/json.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { NewEvent } from './log-writer.js'

/**
 * The server of a user whose membership somebody else ends: it is sent the event also when it is not in the room, as after
 * an invite that is taken back or a knock that is refused. Invites have a request of their own.
 */
export function targetServerOf({ type, stateKey, sender, content }: RoomEvent): string | undefined {
  if (type !== 'm.room.member' || stateKey === undefined || stateKey === sender) return undefined
  const membership = ownString(content, 'membership')
  return membership === 'leave' || membership === 'ban' ? serverNameOf(stateKey) : undefined
}

export function hasTargetElsewhere(event: RoomEvent, serverName: string): boolean {
  const target = targetServerOf(event)
  return target !== undefined && target !== serverName
}

/** Whether users of other servers than this one come to be joined with the event. */
export const bringsServer = ({ memberships }: NewEvent, serverName: string): boolean =>
  memberships.some(({ user, membership }) => membership === 'join' && serverNameOf(user) !== serverName)
