import { Type } from 'typebox'
import { roomAlias } from '../../http/fields.js'
import { notFound } from '../../protocol/matrix-error.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { resolveOwnAlias } from '../../room/aliases.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/query/directory
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
 */
export const queryRoomDirectory = endpoint({
  operationId: 'queryRoomDirectory',
  method: 'get',
  path: '/_matrix/federation/v1/query/directory',
  auth: 'signed-request',
  query: Type.Object({ room_alias: roomAlias }),

  async handle({ config, rooms }, { query }) {
    const isOurs = serverNameOf(query.room_alias) === config.serverName
    if (!isOurs) throw notFound(`Aliases of this server end in :${config.serverName}`)
    const { roomId, servers } = await resolveOwnAlias(rooms, query.room_alias)
    return { room_id: roomId, servers }
  },
})
