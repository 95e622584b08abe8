import { Type } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { roomOrForbidden } from '../../room/known-room.js'
import * as memberships from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { reason, reasonIn } from './fields.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/kick, /ban and /unban
 * https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms
 *
 * A kick is an `m.room.member` event with membership `leave`, sent by somebody else than the target; an unban is the
 * same for somebody who is banned.
 */
const params = Type.Object({ roomId })
const body = Type.Object({ user_id: userId, reason })

export const kick = endpoint({
  operationId: 'kick',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/kick',
  auth: 'access-token',
  params,
  body,

  async handle(services, { requester, params, body }) {
    const name = await roomOrForbidden(services.rooms, params.roomId)
    await memberships.kick(services, name, requester.userId, body.user_id, reasonIn(body))
    return {}
  },
})

export const ban = endpoint({
  operationId: 'ban',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/ban',
  auth: 'access-token',
  params,
  body,

  async handle(services, { requester, params, body }) {
    const name = await roomOrForbidden(services.rooms, params.roomId)
    await memberships.ban(services, name, requester.userId, body.user_id, reasonIn(body))
    return {}
  },
})

export const unban = endpoint({
  operationId: 'unban',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/unban',
  auth: 'access-token',
  params,
  body,

  async handle(services, { requester, params, body }) {
    const name = await roomOrForbidden(services.rooms, params.roomId)
    await memberships.unban(services, name, requester.userId, body.user_id, reasonIn(body))
    return {}
  },
})
