import { Type } from 'typebox'
import { jsonObject, userId } from '../../http/fields.js'
import { createRoom as makeRoom, inRoomMade } from '../../room/create-room.js'
import { inviteByAddress } from '../../room/invite-by-address.js'
import { endpoint } from '../endpoint.js'
import { addressFields } from '../room-membership/fields.js'

const stateEvent = Type.Object({
  type: Type.String(),
  state_key: Type.Optional(Type.String()),
  content: jsonObject,
})

/**
 * POST /_matrix/client/v3/createRoom
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 *
 * The lists are bounded: each entry is an event to sign while nobody else is served.
 */
export const createRoom = endpoint({
  operationId: 'createRoom',
  method: 'post',
  path: '/_matrix/client/v3/createRoom',
  auth: 'access-token',
  rateLimit: 'membership',
  emptyBody: 'allowed',
  body: Type.Object({
    visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])),
    room_alias_name: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    topic: Type.Optional(Type.String()),
    invite: Type.Optional(Type.Array(userId, { maxItems: 200 })),
    invite_3pid: Type.Optional(Type.Array(Type.Object(addressFields), { maxItems: 20 })),
    room_version: Type.Optional(Type.String()),
    creation_content: Type.Optional(jsonObject),
    initial_state: Type.Optional(Type.Array(stateEvent, { maxItems: 500 })),
    preset: Type.Optional(
      Type.Union([Type.Literal('private_chat'), Type.Literal('public_chat'), Type.Literal('trusted_private_chat')]),
    ),
    is_direct: Type.Optional(Type.Boolean()),
    power_level_content_override: Type.Optional(jsonObject),
  }),

  async handle(services, { requester: { userId }, body, nonCanonicalNumber }) {
    const roomId = await makeRoom(services, userId, body, nonCanonicalNumber)
    for (const whom of body.invite_3pid ?? []) {
      const name = await services.rooms.named(roomId)
      await inRoomMade(roomId, () => inviteByAddress(services, name, userId, whom))
    }
    return { room_id: roomId }
  },
})
