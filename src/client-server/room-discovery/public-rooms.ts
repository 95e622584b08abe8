import { Type } from 'typebox'
import { publicRoomsFilter, serverName } from '../../http/fields.js'
import { publicRooms, type PublicRooms, type PublicRoomsFilter, type PublicRoomsPage } from '../../room/public-rooms.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'

/**
 * GET and POST /_matrix/client/v3/publicRooms
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 *
 * The rooms of this server, or of another, which is asked for each page.
 */
const paging = {
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  since: Type.Optional(Type.String()),
}
const ofServer = Type.Optional(serverName)

export const getPublicRooms = endpoint({
  operationId: 'getPublicRooms',
  method: 'get',
  path: '/_matrix/client/v3/publicRooms',
  auth: 'none',
  rateLimit: 'remote-query',
  query: Type.Object({ ...paging, server: ofServer }),
  handle: (services, { query, signal }) => answer(services, query.server, query, undefined, signal),
})

export const queryPublicRooms = endpoint({
  operationId: 'queryPublicRooms',
  method: 'post',
  path: '/_matrix/client/v3/publicRooms',
  auth: 'access-token',
  rateLimit: 'remote-query',
  query: Type.Object({ server: ofServer }),
  body: Type.Object({
    ...paging,
    filter: Type.Optional(publicRoomsFilter),
    include_all_networks: Type.Optional(Type.Boolean()),
    third_party_instance_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  }),
  emptyBody: 'allowed',
  handle: (services, { query, body, signal }) => answer(services, query.server, body, body.filter, signal),
})

const answer = (
  { config, db, remoteQueries }: Services,
  server: string | undefined,
  page: PublicRoomsPage,
  filter: PublicRoomsFilter | undefined,
  signal: AbortSignal,
): Promise<PublicRooms> =>
  server === undefined || server === config.serverName
    ? publicRooms(db, page, filter)
    : remoteQueries.publicRooms(server, page, filter, signal)
