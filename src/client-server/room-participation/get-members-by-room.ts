import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { ownString } from '../../protocol/json.js'
import { userReader } from '../../room/gate.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { parseRoomToken, positionBefore } from '../../room/pagination-token.js'
import { requireJoined } from '../../room/rooms.js'
import { serialise } from '../../room/serialise.js'
import { membersOf } from '../../store/memberships.js'
import { stateEvents } from '../../store/state-events.js'
import { endpoint } from '../endpoint.js'

const membership = Type.Optional(
  Type.Union(['join', 'invite', 'knock', 'leave', 'ban'].map((value) => Type.Literal(value))),
)

/**
 * GET /_matrix/client/v3/rooms/{roomId}/members
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
 *
 * Those with `membership`, and those without `not_membership`: where both are given, either is enough.
 */
export const getMembersByRoom = endpoint({
  operationId: 'getMembersByRoom',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/members',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  query: Type.Object({ at: Type.Optional(Type.String()), membership, not_membership: membership }),

  async handle(services, { requester, params, query }) {
    const { rooms, gate, stores, writer } = services
    const name = await roomOrForbidden(rooms, params.roomId)
    const at = query.at === undefined ? undefined : positionBefore(parseRoomToken(query.at))
    if (at !== undefined) await writer.reach(at)
    await rooms.requireWhole(name)
    const reader = userReader(requester)
    const state = at === undefined ? await gate.state(name, reader) : await gate.stateAt(name, reader, at)
    const events = gate.inReadableState(await stateEvents(stores, name.room, state))
    const members = events.filter(
      ({ event }) => event.type === 'm.room.member' && isWanted(query, ownString(event.content, 'membership')),
    )
    const texts = await serialise(services, name, requester, members, { withRoomId: true, asState: true })
    return new Reply(200, `{"chunk":[${texts.join(',')}]}`)
  },
})

function isWanted(
  query: { readonly membership?: string; readonly not_membership?: string },
  membership: string | undefined,
): boolean {
  if (query.membership === undefined && query.not_membership === undefined) return true
  if (query.membership !== undefined && membership === query.membership) return true
  return query.not_membership !== undefined && membership !== query.not_membership
}

/**
 * GET /_matrix/client/v3/rooms/{roomId}/joined_members
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
 *
 * For who is in the room now.
 */
export const getJoinedMembersByRoom = endpoint({
  operationId: 'getJoinedMembersByRoom',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/joined_members',
  auth: 'access-token',
  params: Type.Object({ roomId }),

  async handle({ db, rooms, stores }, { requester, params }) {
    const name = await roomOrForbidden(rooms, params.roomId)
    requireJoined(await rooms.membership(name, requester.userId))
    await rooms.requireWhole(name)
    const members = await membersOf(db, name.room, 'join')
    const events = await stores.events.events(
      name.room,
      members.flatMap(({ event }) => event ?? []),
    )
    const joined = members.map(({ user, event }) => {
      const content = (event && events.get(event)?.event.content) ?? {}
      return [
        user,
        { display_name: ownString(content, 'displayname'), avatar_url: ownString(content, 'avatar_url') },
      ] as const
    })
    return { joined: Object.fromEntries(joined) }
  },
})
