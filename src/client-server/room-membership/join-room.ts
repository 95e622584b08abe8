import { Type } from 'typebox'
import { jsonObject, roomId } from '../../http/fields.js'
import { roomByIdOrAlias } from '../../room/known-room.js'
import { join } from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn, roomIdOrAlias, via } from './fields.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/join and /join/{roomIdOrAlias}
 * https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
 *
 * The servers of `via` are not asked: rooms of other servers cannot be joined yet, and are not found.
 */
const body = Type.Object({ reason, third_party_signed: Type.Optional(jsonObject) })

export const joinRoomById = endpoint({
  operationId: 'joinRoomById',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/join',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomId }),
  body,
  emptyBody: 'allowed',

  async handle(services, { requester, params, body }) {
    const name = await services.rooms.named(params.roomId)
    await join(services, name, requester.userId, reasonIn(body), body.third_party_signed)
    return { room_id: name.roomId }
  },
})

export const joinRoom = endpoint({
  operationId: 'joinRoom',
  method: 'post',
  path: '/_matrix/client/v3/join/:roomIdOrAlias',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomIdOrAlias }),
  query: Type.Object({ via, server_name: via }),
  body,
  emptyBody: 'allowed',

  async handle(services, { requester, params, body }) {
    const name = await roomByIdOrAlias(services.rooms, params.roomIdOrAlias)
    await join(services, name, requester.userId, reasonIn(body), body.third_party_signed)
    return { room_id: name.roomId }
  },
})
