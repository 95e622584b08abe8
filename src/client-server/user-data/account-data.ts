import { Type } from 'typebox'
import { jsonObject, roomId, text, userId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { MatrixError, notFound } from '../../protocol/matrix-error.js'
import type { RoomNumber } from '../../protocol/numbers.js'
import { pushRulesContent } from '../../protocol/push-rules.js'
import { accountData } from '../../store/account-data.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { requireOwn } from './own-user.js'

/**
 * /_matrix/client/v3/user/{userId}/account_data/{type}, and the same of a room
 * https://spec.matrix.org/v1.19/client-server-api/#client-config
 *
 * Contents are kept and given back as the text the client wrote: nobody here has to understand them.
 */

const type = text(255, 1)

export const setAccountData = endpoint({
  operationId: 'setAccountData',
  method: 'put',
  path: '/_matrix/client/v3/user/:userId/account_data/:type',
  auth: 'access-token',
  params: Type.Object({ userId, type }),
  body: jsonObject,
  rateLimit: 'profile',

  async handle({ writer }, { requester, params, bodyText }) {
    requireOwn(requester, params.userId)
    requireSettable(params.type)
    await writer.write([
      { kind: 'account-data', room: 0, user: requester.userId, type: params.type, content: bodyText },
    ])
    return {}
  },
})

export const getAccountData = endpoint({
  operationId: 'getAccountData',
  method: 'get',
  path: '/_matrix/client/v3/user/:userId/account_data/:type',
  auth: 'access-token',
  params: Type.Object({ userId, type }),

  async handle(services, { requester, params }) {
    requireOwn(requester, params.userId)
    if (params.type === 'm.push_rules') return new Reply(200, pushRulesContent(requester.userId))
    return contentOf(services, requester.userId, 0, params.type)
  },
})

export const setAccountDataPerRoom = endpoint({
  operationId: 'setAccountDataPerRoom',
  method: 'put',
  path: '/_matrix/client/v3/user/:userId/rooms/:roomId/account_data/:type',
  auth: 'access-token',
  params: Type.Object({ userId, roomId, type }),
  body: jsonObject,
  rateLimit: 'profile',

  async handle(services, { requester, params, bodyText }) {
    requireOwn(requester, params.userId)
    requireSettable(params.type)
    const room = await roomNumber(services, params.roomId)
    await services.writer.write([
      { kind: 'account-data', room, user: requester.userId, type: params.type, content: bodyText },
    ])
    return {}
  },
})

export const getAccountDataPerRoom = endpoint({
  operationId: 'getAccountDataPerRoom',
  method: 'get',
  path: '/_matrix/client/v3/user/:userId/rooms/:roomId/account_data/:type',
  auth: 'access-token',
  params: Type.Object({ userId, roomId, type }),

  async handle(services, { requester, params }) {
    requireOwn(requester, params.userId)
    return contentOf(services, requester.userId, await roomNumber(services, params.roomId), params.type)
  },
})

/** "Servers MUST reject setting account data for event types that the server manages by using a 405 error response." */
function requireSettable(type: string): void {
  if (type !== 'm.fully_read' && type !== 'm.push_rules') return
  throw new MatrixError(405, 'M_BAD_JSON', `${type} cannot be set as account data: it has an endpoint of its own`)
}

/** A room need not be joined: data may be about an invite. */
export async function roomNumber({ stores }: Pick<Services, 'stores'>, roomId: string): Promise<RoomNumber> {
  const name = await stores.names.find(roomId)
  if (name === undefined) throw notFound('This server does not know the room')
  return name.room
}

async function contentOf({ db }: Pick<Services, 'db'>, userId: string, room: RoomNumber | 0, type: string) {
  const content = await accountData(db, userId, room, type)
  if (content === undefined) throw notFound('There is no account data of this type')
  return new Reply(200, content)
}
