import { membershipsOf } from '../../store/memberships.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/joined_rooms
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
 */
export const getJoinedRooms = endpoint({
  operationId: 'getJoinedRooms',
  method: 'get',
  path: '/_matrix/client/v3/joined_rooms',
  auth: 'access-token',

  async handle({ db, stores }, { requester }) {
    const memberships = await membershipsOf(db, requester.userId)
    const joined = memberships.filter(({ membership }) => membership === 'join').map(({ room }) => room)
    const names = await stores.names.names(joined)
    return { joined_rooms: joined.flatMap((room) => names.get(room)?.roomId ?? []) }
  },
})
