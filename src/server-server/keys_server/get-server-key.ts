import { Reply } from '../../http/reply.js'
import { canonicalJson } from '../../protocol/canonical-json.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/key/v2/server
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
 */
export const getServerKey = endpoint({
  operationId: 'getServerKey',
  method: 'get',
  path: '/_matrix/key/v2/server',
  auth: 'none',
  handle: async ({ ownKeys }) => new Reply(200, canonicalJson(await ownKeys.published())),
})
