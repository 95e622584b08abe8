import { Type } from 'typebox'
import { userId } from '../../http/fields.js'
import { forbidden } from '../../protocol/matrix-error.js'
import { sharesRoomWith } from '../../store/user-rooms.js'
import { MAX_STATUS_MSG, presenceContent } from '../../sync/presence.js'
import { endpoint } from '../endpoint.js'
import { requireOwn } from '../user-data/own-user.js'

/**
 * /_matrix/client/v3/presence/{userId}/status
 * https://spec.matrix.org/v1.19/client-server-api/#presence
 *
 * With PRESENCE=off everybody is offline, and what clients say of themselves is heard by nobody: an error would be shown to
 * people who can do nothing about it.
 */
const path = '/_matrix/client/v3/presence/:userId/status'
const params = Type.Object({ userId })

export const setPresence = endpoint({
  operationId: 'setPresence',
  method: 'put',
  path,
  auth: 'access-token',
  rateLimit: 'profile',
  params,
  body: Type.Object({
    presence: Type.Enum(['online', 'offline', 'unavailable']),
    status_msg: Type.Optional(Type.Union([Type.String({ maxLength: MAX_STATUS_MSG }), Type.Null()])),
  }),

  handle({ presences }, { requester, params, body }) {
    requireOwn(requester, params.userId)
    const { presence, status_msg: statusMsg } = body
    // Some clients clear their message with an empty one.
    presences?.set(
      requester.userId,
      requester.device,
      presence,
      statusMsg === null || statusMsg === '' ? undefined : statusMsg,
    )
    return {}
  },
})

export const getPresence = endpoint({
  operationId: 'getPresence',
  method: 'get',
  path,
  auth: 'access-token',
  params,

  async handle({ db, presences }, { requester, params }) {
    const isVisible = params.userId === requester.userId || (await sharesRoomWith(db, requester.userId, params.userId))
    if (!isVisible) throw forbidden('You are not allowed to see their presence')
    return presences === undefined
      ? { presence: 'offline' }
      : presenceContent(presences.of(params.userId), presences.now())
  },
})
