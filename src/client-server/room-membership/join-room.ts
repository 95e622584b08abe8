import { Type, type Static } from 'typebox'
import { jsonObject, roomId } from '../../http/fields.js'
import type { Destination } from '../../federation/joining/remote-memberships.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { reason, reasonIn, roomIdOrAlias, via, viaIn } from './fields.js'

/**
 * POST /_matrix/client/v3/rooms/{roomId}/join and /join/{roomIdOrAlias}
 * https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
 */
const joinBody = Type.Object({ reason, third_party_signed: Type.Optional(jsonObject) })

export const joinRoomById = endpoint({
  operationId: 'joinRoomById',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/join',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomId }),
  body: joinBody,
  emptyBody: 'allowed',

  async handle(services, { requester, params, body, signal }) {
    const destination = { roomIdOrAlias: params.roomId, via: [] }
    return joined(services, requester.userId, destination, body, signal)
  },
})

export const joinRoom = endpoint({
  operationId: 'joinRoom',
  method: 'post',
  path: '/_matrix/client/v3/join/:roomIdOrAlias',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomIdOrAlias }),
  query: Type.Object({ via, server_name: via }),
  body: joinBody,
  emptyBody: 'allowed',

  async handle(services, { requester, params, query, body, signal }) {
    const destination = { roomIdOrAlias: params.roomIdOrAlias, via: viaIn(query) }
    return joined(services, requester.userId, destination, body, signal)
  },
})

async function joined(
  { memberships }: Services,
  userId: string,
  destination: Destination,
  body: Static<typeof joinBody>,
  signal: AbortSignal,
): Promise<{ room_id: string }> {
  const roomId = await memberships.join(userId, destination, reasonIn(body), body.third_party_signed, signal)
  return { room_id: roomId }
}
