import { Type } from 'typebox'
import { deviceListsSince } from '../../store/device-lists.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/keys/changes
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
 *
 * Only the newest change of each user is kept, so `to` cannot cut anything off: what came after it is in the answer too,
 * and again in the sync that follows.
 */
export const getKeysChanges = endpoint({
  operationId: 'getKeysChanges',
  method: 'get',
  path: '/_matrix/client/v3/keys/changes',
  auth: 'access-token',
  query: Type.Object({ from: Type.String(), to: Type.String() }),

  async handle({ db, sync }, { requester, query }) {
    await sync.positionOf(query.to)
    return deviceListsSince(db, requester.userId, await sync.positionOf(query.from))
  },
})
