import { Type } from 'typebox'
import { mapOf } from '../../http/fields.js'
import { invalidParam } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'
import { serverKeys } from './server-keys.js'

const MAX_SERVERS = 100

/**
 * POST /_matrix/key/v2/query
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
 */
export const bulkPerspectivesKeyQuery = endpoint({
  operationId: 'bulkPerspectivesKeyQuery',
  method: 'post',
  path: '/_matrix/key/v2/query',
  auth: 'none',
  rateLimit: 'key-query',
  body: Type.Object({
    server_keys: mapOf(mapOf(Type.Object({ minimum_valid_until_ts: Type.Optional(Type.Integer()) }))),
  }),
  bodyLimit: 64 * 1024,

  async handle({ notary }, { body, signal }) {
    const asked = Object.entries(body.server_keys)
    if (asked.length > MAX_SERVERS)
      throw invalidParam(`Keys of at most ${MAX_SERVERS} servers can be asked for at once`)
    const queries = asked.map(([serverName, criteria]) => {
      const keys = Object.entries(criteria).map(([keyId, { minimum_valid_until_ts: at }]) => [keyId, at] as const)
      return { serverName, keys: new Map(keys) }
    })
    return serverKeys(await notary.vouch(queries, signal))
  },
})
