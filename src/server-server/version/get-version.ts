import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from '../../package-folder.js'
import { endpoint } from '../endpoint.js'

const { version } = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as { version: string }

/**
 * GET /_matrix/federation/v1/version
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
 */
export const getVersion = endpoint({
  operationId: 'getVersion',
  method: 'get',
  path: '/_matrix/federation/v1/version',
  auth: 'none',
  handle: () => ({ server: { name: 'Hearth', version } }),
})
