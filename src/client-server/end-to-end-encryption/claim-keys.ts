import { Type } from 'typebox'
import { claimOwnKeys, objectText } from '../../accounts/own-keys.js'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'
import { failuresText, usersByServer } from './users-by-server.js'

/**
 * POST /_matrix/client/v3/keys/claim
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
 */
export const claimKeys = endpoint({
  operationId: 'claimKeys',
  method: 'post',
  path: '/_matrix/client/v3/keys/claim',
  auth: 'access-token',
  body: Type.Object({
    one_time_keys: mapOf(mapOf(Type.String())),
    timeout: Type.Optional(Type.Integer()),
  }),

  async handle({ config, db, remoteDevices }, { body, signal }) {
    const { local, remote } = usersByServer(body.one_time_keys, config.serverName)
    const [ours, { keys, failures }] = await Promise.all([
      claimOwnKeys(db, local, Date.now()),
      remoteDevices.claim(remote, body.timeout, signal),
    ])
    const all = objectText(new Map([...ours, ...keys]))
    return new Reply(200, `{"one_time_keys":${all},"failures":${failuresText(failures)}}`)
  },
})
