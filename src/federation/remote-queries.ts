/**
 * What other servers are asked for our users: which room has an alias, what a profile says, which rooms are published.
 * https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
 *
 * An answer is another server's word: its shape is checked, identifiers by their grammar, what is too much is left out.
 */
import { isRoomId, isServerName, serverNameOf } from '../protocol/identifiers.js'
import { own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { resolveOwnAlias, type ResolvedAlias } from '../room/aliases.js'
import type { Rooms } from '../room/rooms.js'
import {
  MAX_PUBLIC_ROOMS,
  type PublicRooms,
  type PublicRoomsFilter,
  type PublicRoomsPage,
} from '../room/public-rooms.js'
import { malformed, objectFrom, queryString } from './asking.js'
import type { Remote, RemoteRequest } from './remote.js'
import { count, isMxc, readRoomChunk } from './room-previews.js'

export interface RemoteQueriesDeps {
  readonly remote: Remote
  readonly rooms: Rooms
}

/** A client waits for the answer. In ms. */
const TIMEOUT = 20_000
const DEFAULT_LIMIT = 100
/** Of one answer. */
const MAX_SERVERS = 100

export class RemoteQueries {
  constructor(private readonly deps: RemoteQueriesDeps) {}

  /** The room with an alias, of this server or another. @throws MatrixError 404, 502, 504 */
  async resolveAlias(alias: string, signal?: AbortSignal): Promise<ResolvedAlias> {
    const { remote, rooms } = this.deps
    const server = serverNameOf(alias)
    if (server === undefined || server === rooms.deps.server.name) return resolveOwnAlias(rooms, alias)
    const path = `/_matrix/federation/v1/query/directory?${queryString({ room_alias: alias })}`
    const request = { method: 'GET', path, timeout: TIMEOUT, maxBytes: 256 * 1024 } as const
    const answer = await objectFrom(remote, server, request, signal)
    const roomId = ownString(answer, 'room_id') ?? ''
    if (!isRoomId(roomId)) throw malformed(server)
    const servers = serverNames(own(answer, 'servers'))
    return { roomId, servers: servers.length === 0 ? [server] : servers }
  }

  /** The profile of a user of another server, or one field of it. @throws MatrixError 403, 404, 502, 504 */
  async profile(userId: string, field?: string, signal?: AbortSignal): Promise<JsonObject> {
    const path = `/_matrix/federation/v1/query/profile?${queryString({ user_id: userId, field })}`
    const request = { method: 'GET', path, timeout: TIMEOUT, maxBytes: 256 * 1024 } as const
    const answer = await objectFrom(this.deps.remote, serverNameOf(userId)!, request, signal)
    return Object.fromEntries(Object.entries(answer).filter(isProfileField))
  }

  /** A page of the rooms that another server has published. @throws MatrixError 404, 502, 504 */
  async publicRooms(
    server: string,
    { limit = DEFAULT_LIMIT, since }: PublicRoomsPage,
    filter: PublicRoomsFilter | undefined,
    signal?: AbortSignal,
  ): Promise<PublicRooms> {
    if (limit === 0) return { chunk: [] }
    const page = { limit: Math.min(limit, MAX_PUBLIC_ROOMS), ...(since !== undefined && { since }) }
    const path = '/_matrix/federation/v1/publicRooms'
    const request: RemoteRequest =
      filter === undefined
        ? { method: 'GET', path: `${path}?${queryString(page)}`, timeout: TIMEOUT }
        : { method: 'POST', path, content: { ...page, filter: filterOf(filter) }, timeout: TIMEOUT }
    const answer = await objectFrom(this.deps.remote, server, request, signal)
    const chunk = own(answer, 'chunk')
    if (!Array.isArray(chunk)) throw malformed(server)
    return {
      chunk: chunk.slice(0, page.limit).flatMap((room: Json) => readRoomChunk(room) ?? []),
      next_batch: ownString(answer, 'next_batch'),
      prev_batch: ownString(answer, 'prev_batch'),
      total_room_count_estimate: count(own(answer, 'total_room_count_estimate')),
    }
  }
}

/** What the answer to one who asks for a profile may hold. A name or an avatar of another type would break clients. */
function isProfileField([key, value]: readonly [string, Json | undefined]): boolean {
  if (key === 'displayname') return typeof value === 'string'
  if (key === 'avatar_url') return typeof value === 'string' && isMxc(value)
  return value !== undefined && value !== null
}

const filterOf = ({ generic_search_term, room_types }: PublicRoomsFilter): JsonObject => ({
  ...(generic_search_term !== undefined && { generic_search_term }),
  ...(room_types !== undefined && { room_types }),
})

function serverNames(given: Json | undefined): string[] {
  if (!Array.isArray(given)) return []
  const names = given.filter((name): name is string => typeof name === 'string' && isServerName(name))
  return [...new Set(names)].slice(0, MAX_SERVERS)
}
