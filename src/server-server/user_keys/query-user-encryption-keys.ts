import { Type } from 'typebox'
import { objectText, queryOwnKeys } from '../../accounts/own-keys.js'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { usersOf } from '../own-users.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/federation/v1/user/keys/query
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
 *
 * Only of users of this server: what we keep of others is not for third servers (CVE-2023-43796).
 */
export const queryUserEncryptionKeys = endpoint({
  operationId: 'queryUserEncryptionKeys',
  method: 'post',
  path: '/_matrix/federation/v1/user/keys/query',
  auth: 'signed-request',
  body: Type.Object({ device_keys: mapOf(Type.Array(Type.String())) }),

  async handle({ config, db }, { body }) {
    const keys = await queryOwnKeys(db, usersOf(config.serverName, body.device_keys))
    return new Reply(200, `{"device_keys":${objectText(keys)}}`)
  },
})
