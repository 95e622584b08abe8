import { Type } from 'typebox'
import { notFound } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/query/{queryType}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype
 *
 * The types of query that the specification names are endpoints of their own; there are no others here.
 */
export const queryInfo = endpoint({
  operationId: 'queryInfo',
  method: 'get',
  path: '/_matrix/federation/v1/query/:queryType',
  auth: 'signed-request',
  params: Type.Object({ queryType: Type.String() }),

  handle: () => Promise.reject(notFound('There is no such type of query')),
})
