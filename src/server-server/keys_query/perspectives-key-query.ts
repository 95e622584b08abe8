import { Type } from 'typebox'
import { serverName } from '../../http/fields.js'
import { endpoint } from '../endpoint.js'
import { serverKeys } from './server-keys.js'

/**
 * GET /_matrix/key/v2/query/{serverName}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername
 */
export const perspectivesKeyQuery = endpoint({
  operationId: 'perspectivesKeyQuery',
  method: 'get',
  path: '/_matrix/key/v2/query/:serverName',
  auth: 'none',
  rateLimit: 'key-query',
  params: Type.Object({ serverName }),
  query: Type.Object({ minimum_valid_until_ts: Type.Optional(Type.Integer()) }),

  async handle({ notary }, { params, query, signal }) {
    const { minimum_valid_until_ts: validUntil } = query
    return serverKeys(await notary.vouch([{ ...params, keys: new Map(), validUntil }], signal))
  },
})
