import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/versions
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
 *
 * Clients look for single versions in the list, so it has no gaps. A version is listed when its clients find what they
 * then rely on. The r0 ones are for clients that know no other.
 */
export const getVersions = endpoint({
  operationId: 'getVersions',
  method: 'get',
  path: '/_matrix/client/versions',
  auth: 'none',
  handle: () => ({ versions, unstable_features: {} }),
})

const versions = ['r0.6.0', 'r0.6.1', ...Array.from({ length: 11 }, (_, minor) => `v1.${minor + 1}`)]
