import { Type } from 'typebox'
import { isRoomIdWithServer, serverNameOf } from '../../protocol/identifiers.js'
import { notFound } from '../../protocol/matrix-error.js'
import { userReader } from '../../room/gate.js'
import { membershipIn } from '../../store/memberships.js'
import { endpoint } from '../endpoint.js'
import { roomIdOrAlias, via } from '../room-membership/fields.js'
import type { Services } from '../services.js'

/**
 * GET /_matrix/client/v1/room_summary/{roomIdOrAlias}
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
 *
 * Without a token: of rooms that are here and that anybody could join, knock on or look into. Other servers are asked
 * for users alone.
 */
export const getRoomSummary = endpoint({
  operationId: 'getRoomSummary',
  method: 'get',
  path: '/_matrix/client/v1/room_summary/:roomIdOrAlias',
  // The only one that matrix-js-sdk asks.
  aliases: ['/_matrix/client/unstable/im.nheko.summary/summary/:roomIdOrAlias'],
  auth: 'optional',
  rateLimit: 'remote-query',
  params: Type.Object({ roomIdOrAlias }),
  query: Type.Object({ via }),

  async handle(services, { requester, params, query, signal }) {
    const { roomId, servers } = await roomAndServers(services, params.roomIdOrAlias, query.via ?? [], signal)
    const { previews, spaces, stores } = services
    const name = await previews.find(roomId)
    if (requester === undefined) {
      if (name === undefined || !(await previews.mayPreview(name, undefined))) throw unknownRoom()
      return previews.preview(name)
    }
    const room = await spaces.room(roomId, userReader(requester), servers, signal)
    if (room === undefined) throw unknownRoom()
    const { children_state: _, ...summary } = room
    const known = name ?? (await stores.names.find(roomId))
    const membership = known && (await membershipIn(stores.db, known.room, requester.userId))?.membership
    return { ...summary, membership: membership ?? 'leave' }
  },
})

const unknownRoom = () => notFound('There is no such room, or nothing of it is told to you')

async function roomAndServers(
  { remoteQueries }: Services,
  idOrAlias: string,
  given: readonly string[],
  signal: AbortSignal,
): Promise<{ roomId: string; servers: readonly string[] }> {
  if (idOrAlias.startsWith('#')) {
    const { roomId, servers } = await remoteQueries.resolveAlias(idOrAlias, signal)
    return { roomId, servers: [...given, ...servers] }
  }
  return { roomId: idOrAlias, servers: isRoomIdWithServer(idOrAlias) ? [...given, serverNameOf(idOrAlias)!] : given }
}
