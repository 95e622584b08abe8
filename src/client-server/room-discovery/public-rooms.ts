import { Type, type Static } from 'typebox'
import { serverName } from '../../http/fields.js'
import { invalidParam, notFound } from '../../protocol/matrix-error.js'
import { publishedRooms, type DirectoryQuery, type PublishedRoom } from '../../store/directory.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'

/**
 * GET and POST /_matrix/client/v3/publicRooms
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 *
 * Rooms with the most members first. Tokens count the rooms before the page: a room whose place changes meanwhile may be
 * shown twice or not at all. Bridged networks are not known here, and directories of other servers are not asked.
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
  query: Type.Object({ ...paging, server: ofServer }),
  handle: (services, { query }) => answer(services, query.server, query, {}),
})

const filter = Type.Object({
  generic_search_term: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  room_types: Type.Optional(Type.Union([Type.Array(Type.Union([Type.String(), Type.Null()])), Type.Null()])),
})

export const queryPublicRooms = endpoint({
  operationId: 'queryPublicRooms',
  method: 'post',
  path: '/_matrix/client/v3/publicRooms',
  auth: 'access-token',
  query: Type.Object({ server: ofServer }),
  body: Type.Object({
    ...paging,
    filter: Type.Optional(filter),
    include_all_networks: Type.Optional(Type.Boolean()),
    third_party_instance_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  }),
  emptyBody: 'allowed',
  handle: (services, { query, body }) => answer(services, query.server, body, selection(body.filter)),
})

/** What no column can hold, no room has. */
function selection(given: Static<typeof filter> = {}): Pick<DirectoryQuery, 'term' | 'types'> {
  const term = given.generic_search_term?.replaceAll('\0', '')
  const types = given.room_types?.filter((type) => !type?.includes('\0'))
  return { ...(term && { term }), ...(types !== undefined && { types }) }
}

async function answer(
  { config, db }: Services,
  server: string | undefined,
  page: { readonly limit?: number; readonly since?: string },
  wanted: Pick<DirectoryQuery, 'term' | 'types'>,
): Promise<object> {
  if (server !== undefined && server !== config.serverName) {
    throw notFound(`This server does not ask ${server} for its directory yet`)
  }
  const offset = page.since === undefined ? 0 : offsetOf(page.since)
  const limit = Math.min(page.limit ?? DEFAULT_LIMIT, MAX_LIMIT)
  const { rooms, total } = await publishedRooms(db, { ...wanted, offset, limit })
  return {
    chunk: rooms.map(publicRoom),
    total_room_count_estimate: total,
    ...(offset + rooms.length < total && rooms.length > 0 && { next_batch: tokenOf(offset + rooms.length) }),
    ...(offset > 0 && { prev_batch: tokenOf(Math.max(0, offset - limit)) }),
  }
}

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1_000

const tokenOf = (offset: number): string => `p${offset}`

function offsetOf(token: string): number {
  const match = /^p(\d{1,9})$/.exec(token)
  if (match === null) throw invalidParam('since is not a token of this server')
  return Number(match[1])
}

/** Absent what the room does not have. */
const publicRoom = (room: PublishedRoom) => ({
  room_id: room.room_id,
  num_joined_members: room.joined_members,
  world_readable: room.history_visibility === 'world_readable',
  guest_can_join: room.guest_access === 'can_join',
  join_rule: room.join_rule ?? 'invite',
  name: room.name ?? undefined,
  topic: room.topic ?? undefined,
  canonical_alias: room.canonical_alias ?? undefined,
  avatar_url: room.avatar_url ?? undefined,
  room_type: room.room_type ?? undefined,
})
