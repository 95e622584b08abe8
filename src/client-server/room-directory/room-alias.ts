import { Type } from 'typebox'
import { roomAlias, roomId } from '../../http/fields.js'
import { addAlias, removeAlias } from '../../room/aliases.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { endpoint } from '../endpoint.js'

/**
 * /_matrix/client/v3/directory/room/{roomAlias}
 * https://spec.matrix.org/v1.19/client-server-api/#room-aliases
 */
const path = '/_matrix/client/v3/directory/room/:roomAlias'
const params = Type.Object({ roomAlias })

export const getRoomIdByAlias = endpoint({
  operationId: 'getRoomIdByAlias',
  method: 'get',
  path,
  auth: 'none',
  rateLimit: 'remote-query',
  params,

  async handle({ remoteQueries }, { params, signal }) {
    const { roomId, servers } = await remoteQueries.resolveAlias(params.roomAlias, signal)
    return { room_id: roomId, servers }
  },
})

export const setRoomAlias = endpoint({
  operationId: 'setRoomAlias',
  method: 'put',
  path,
  auth: 'access-token',
  params,
  body: Type.Object({ room_id: roomId }),

  async handle({ rooms }, { requester, params, body }) {
    const name = await roomOrForbidden(rooms, body.room_id)
    await addAlias(rooms, name, requester.userId, params.roomAlias)
    return {}
  },
})

export const deleteRoomAlias = endpoint({
  operationId: 'deleteRoomAlias',
  method: 'delete',
  path,
  auth: 'access-token',
  params,

  async handle({ rooms }, { requester, params }) {
    await removeAlias(rooms, requester, params.roomAlias)
    return {}
  },
})
