import { Type } from 'typebox'
import { publicRoomsFilter } from '../../http/fields.js'
import { MAX_PUBLIC_ROOMS, publicRooms, type PublicRoomsPage } from '../../room/public-rooms.js'
import { endpoint } from '../endpoint.js'

/**
 * GET and POST /_matrix/federation/v1/publicRooms
 * https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
 */
const path = '/_matrix/federation/v1/publicRooms'
const paging = {
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  since: Type.Optional(Type.String()),
}

/** "Defaults to 0 (no limit)": as many as one answer has. */
const pageOf = ({ limit = 0, since }: PublicRoomsPage): PublicRoomsPage => ({
  limit: limit === 0 ? MAX_PUBLIC_ROOMS : limit,
  since,
})

export const getPublicRooms = endpoint({
  operationId: 'getPublicRooms',
  method: 'get',
  path,
  auth: 'signed-request',
  query: Type.Object(paging),
  handle: ({ db }, { query }) => publicRooms(db, pageOf(query), {}, { forServers: true }),
})

export const queryPublicRooms = endpoint({
  operationId: 'queryPublicRooms',
  method: 'post',
  path,
  auth: 'signed-request',
  body: Type.Object({ ...paging, filter: Type.Optional(publicRoomsFilter) }),
  handle: ({ db }, { body }) => publicRooms(db, pageOf(body), body.filter, { forServers: true }),
})
