import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /.well-known/matrix/client
 * https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
 */
export const getWellknown = endpoint({
  operationId: 'getWellknown',
  method: 'get',
  path: '/.well-known/matrix/client',
  auth: 'none',
  handle: ({ config }) =>
    Reply.json(200, { 'm.homeserver': { base_url: config.publicBaseUrl } }, { 'Cache-Control': 'max-age=3600' }),
})
