import { Type } from 'typebox'
import { claimOwnKeys, objectText } from '../../accounts/own-keys.js'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'
import { usersOf } from '../own-users.js'

/**
 * POST /_matrix/federation/v1/user/keys/claim
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
 */
export const claimUserEncryptionKeys = endpoint({
  operationId: 'claimUserEncryptionKeys',
  method: 'post',
  path: '/_matrix/federation/v1/user/keys/claim',
  auth: 'signed-request',
  body: Type.Object({ one_time_keys: mapOf(mapOf(Type.String())) }),

  async handle({ config, db }, { body }) {
    const keys = await claimOwnKeys(db, usersOf(config.serverName, body.one_time_keys), Date.now())
    return new Reply(200, `{"one_time_keys":${objectText(keys)}}`)
  },
})
