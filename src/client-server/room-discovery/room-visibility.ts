import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { forbidden } from '../../protocol/matrix-error.js'
import { mayChangeDirectory } from '../../room/directory.js'
import { isInDirectory, setInDirectory } from '../../store/directory.js'
import { endpoint } from '../endpoint.js'

/**
 * /_matrix/client/v3/directory/list/room/{roomId}
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 *
 * Whether a room is in this server's directory. Administrators, and those who may set its canonical alias, say so.
 */
const path = '/_matrix/client/v3/directory/list/room/:roomId'
const params = Type.Object({ roomId })

export const getRoomVisibilityOnDirectory = endpoint({
  operationId: 'getRoomVisibilityOnDirectory',
  method: 'get',
  path,
  auth: 'none',
  params,

  async handle({ db, rooms }, { params }) {
    const { room } = await rooms.named(params.roomId)
    return { visibility: (await isInDirectory(db, room)) ? 'public' : 'private' }
  },
})

export const setRoomVisibilityOnDirectory = endpoint({
  operationId: 'setRoomVisibilityOnDirectory',
  method: 'put',
  path,
  auth: 'access-token',
  params,
  body: Type.Object({ visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])) }),
  emptyBody: 'allowed',

  async handle({ db, rooms }, { requester, params, body }) {
    const name = await rooms.named(params.roomId)
    if (!requester.isAdmin && !(await mayChangeDirectory(rooms, name, requester.userId))) {
      throw forbidden('Your power level does not allow you to change whether this room is in the directory')
    }
    await setInDirectory(db, name.room, body.visibility !== 'private')
    return {}
  },
})
