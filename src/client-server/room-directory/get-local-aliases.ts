import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { forbidden } from '../../protocol/matrix-error.js'
import { userReader } from '../../room/gate.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { aliasesOf } from '../../store/aliases.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/rooms/{roomId}/aliases
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
 *
 * For members, and for everybody where everybody may read.
 */
export const getLocalAliases = endpoint({
  operationId: 'getLocalAliases',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/aliases',
  auth: 'access-token',
  params: Type.Object({ roomId }),

  async handle({ db, rooms, gate }, { requester, params }) {
    const name = await roomOrForbidden(rooms, params.roomId)
    if ((await gate.readableUntil(name, userReader(requester))) !== Infinity)
      throw forbidden('You are not in this room')
    return { aliases: await aliasesOf(db, name.room) }
  },
})
