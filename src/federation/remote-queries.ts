/**
 * What other servers are asked for our users: which room has an alias, what a profile says, which rooms are published.
 * https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
 *
 * An answer is another server's word: its shape is checked, identifiers by their grammar, what is too much is left out.
 */
import { isRoomId, isServerName, serverNameOf } from '../protocol/identifiers.js'
import { own, ownString, type Json } from '../protocol/json.js'
import { notFound } from '../protocol/matrix-error.js'
import { resolveOwnAlias, type ResolvedAlias } from '../room/aliases.js'
import type { Rooms } from '../room/rooms.js'
import { malformed, objectFrom, queryString } from './asking.js'
import type { Remote } from './remote.js'

export interface RemoteQueriesDeps {
  readonly remote: Remote
  readonly rooms: Rooms
}

/** A client waits for the answer. In ms. */
const TIMEOUT = 20_000
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
    const answer = await objectFrom(remote, server, request, () => notFound(`There is no alias ${alias}`), signal)
    const roomId = ownString(answer, 'room_id') ?? ''
    if (!isRoomId(roomId)) throw malformed(server)
    const servers = serverNames(own(answer, 'servers'))
    return { roomId, servers: servers.length === 0 ? [server] : servers }
  }
}

function serverNames(given: Json | undefined): string[] {
  if (!Array.isArray(given)) return []
  const names = given.filter((name): name is string => typeof name === 'string' && isServerName(name))
  return [...new Set(names)].slice(0, MAX_SERVERS)
}
