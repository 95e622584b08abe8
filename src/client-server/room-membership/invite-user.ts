import { Type, type Static } from 'typebox'
import { roomId, userId } from '../../http/fields.js'
import { badJson } from '../../protocol/matrix-error.js'
import { inviteByAddress, type AddressToInvite } from '../../room/invite-by-address.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { invite } from '../../room/membership-changes.js'
import { endpoint } from '../endpoint.js'
import { addressFields, reason, reasonIn } from './fields.js'

const body = Type.Object({
  user_id: Type.Optional(userId),
  reason,
  ...Type.Partial(Type.Object(addressFields)).properties,
})

/**
 * POST /_matrix/client/v3/rooms/{roomId}/invite
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
 *
 * The same path with other fields invites by e-mail address or phone number (`inviteBy3PID`), by the identity server that
 * the client names: this one has none of its own.
 */
export const inviteUser = endpoint({
  operationId: 'inviteUser',
  method: 'post',
  path: '/_matrix/client/v3/rooms/:roomId/invite',
  auth: 'access-token',
  rateLimit: 'membership',
  params: Type.Object({ roomId }),
  body,

  async handle(services, { requester: { userId }, params, body, signal }) {
    const whom = body.user_id ?? addressIn(body)
    const name = await roomOrForbidden(services.rooms, params.roomId)
    if (typeof whom === 'string') await invite(services, name, userId, whom, reasonIn(body))
    else await inviteByAddress(services, name, userId, whom, signal)
    return {}
  },
})

function addressIn({ id_server, id_access_token, medium, address }: Static<typeof body>): AddressToInvite {
  if (medium === undefined && address === undefined) throw badJson('body.user_id is required')
  if (medium === undefined || address === undefined || id_server === undefined || id_access_token === undefined)
    throw badJson('body.id_server, id_access_token, medium and address are required to invite by an address')
  return { id_server, id_access_token, medium, address }
}
