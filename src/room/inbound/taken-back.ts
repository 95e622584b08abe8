/**
 * Invites and knocks of our users that end while nobody of ours is in the room: an invite is taken back, a knock is turned
 * away, either may end in a ban. The rules cannot be asked, since the state of the room is not here, and neither can the
 * signature of the event, whose room version may not be known. What counts is who made the request: a server that vouched
 * for the room when it told us of it, for a user of its own. Which invite or knock it ended is among its auth events: what
 * arrives late does not end a newer one.
 */
import { serverNameOf } from '../../protocol/identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../../protocol/json.js'
import { MAX_AUTH_EVENTS } from '../../protocol/pdu.js'
import { membershipIn } from '../../store/memberships.js'
import { serversTold } from '../invite-state.js'
import { unheldEnding, type UnheldEnding } from '../unheld-ending.js'
import type { InboundDeps } from './inbound-deps.js'

type Deps = Pick<InboundDeps, 'db' | 'stores' | 'rooms' | 'serverName'>

/** Whether this PDU of a room in which nobody of ours is ended an invite or a knock. */
export async function isTakenBack(deps: Deps, origin: string, pdu: JsonObject): Promise<boolean> {
  const ending = endingIn(pdu)
  if (ending === undefined || serverNameOf(ending.user) !== deps.serverName) return false
  if (serverNameOf(ending.sender) !== origin) return false
  const name = await deps.stores.names.find(ending.roomId)
  const current = name && (await membershipIn(deps.db, name.room, ending.user))
  if (current === undefined || current.event !== undefined) return false
  if (current.membership !== 'invite' && current.membership !== 'knock') return false
  if (!serversTold(current).includes(origin)) return false
  if (current.unheldEventId !== undefined && !ending.authEvents.includes(current.unheldEventId)) return false
  const { roomId, user, sender, content } = ending
  const { now, writer } = deps.rooms.deps
  const strippedState = unheldEnding({ roomId, user, sender, content, originServerTs: now() })
  const ended = { room: current.room, user, membership: content.membership, sender, strippedState }
  return (await writer.writeMembership(ended, current.position)) || isTakenBack(deps, origin, pdu)
}

interface Ending {
  readonly roomId: string
  readonly user: string
  readonly sender: string
  readonly content: UnheldEnding['content']
  readonly authEvents: readonly string[]
}

function endingIn(pdu: JsonObject): Ending | undefined {
  const content = own(pdu, 'content')
  if (!isObject(content)) return undefined
  const membership = ownString(content, 'membership')
  const roomId = ownString(pdu, 'room_id')
  const user = ownString(pdu, 'state_key')
  const sender = ownString(pdu, 'sender')
  if (ownString(pdu, 'type') !== 'm.room.member' || (membership !== 'leave' && membership !== 'ban')) return undefined
  if (roomId === undefined || user === undefined || sender === undefined) return undefined
  const reason = ownString(content, 'reason')
  const said = { membership, ...(reason !== undefined && { reason }) } as const
  return { roomId, user, sender, content: said, authEvents: authEventsOf(pdu) }
}

/** Whatever the room version: ids, or ids with hashes. */
function authEventsOf(pdu: JsonObject): string[] {
  const authEvents = own(pdu, 'auth_events')
  if (!Array.isArray(authEvents)) return []
  const ids = authEvents.slice(0, MAX_AUTH_EVENTS).map((one: Json) => (Array.isArray(one) ? (one[0] as Json) : one))
  return ids.filter((id): id is string => typeof id === 'string')
}
