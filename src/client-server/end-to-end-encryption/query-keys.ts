import { Type } from 'typebox'
import { devicesText, objectText, queryOwnKeys } from '../../accounts/own-keys.js'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import type { RemoteDeviceList } from '../../store/remote-devices.js'
import { endpoint } from '../endpoint.js'
import { failuresText, usersByServer } from './users-by-server.js'

/**
 * POST /_matrix/client/v3/keys/query
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
 *
 * Keys are texts here and go into the answer as they are; all that is added is `unsigned`. Users of servers that were not
 * reached are absent, and their servers under `failures`.
 */
export const queryKeys = endpoint({
  operationId: 'queryKeys',
  method: 'post',
  path: '/_matrix/client/v3/keys/query',
  auth: 'access-token',
  body: Type.Object({
    device_keys: mapOf(Type.Array(Type.String())),
    timeout: Type.Optional(Type.Integer()),
  }),

  async handle({ config, db, remoteDevices }, { body, signal }) {
    const { local, remote } = usersByServer(body.device_keys, config.serverName)
    const [devices, { lists, failures }] = await Promise.all([
      queryOwnKeys(db, local),
      remoteDevices.query(remote, body.timeout, signal),
    ])
    for (const [userId, list] of lists) devices.set(userId, devicesText(list.devices, remote.get(userId)!))
    const parts = [`"device_keys":${objectText(devices)}`, `"failures":${failuresText(failures)}`]
    const masterKeys = textsOf(lists, ({ masterKey }) => masterKey)
    const selfSigningKeys = textsOf(lists, ({ selfSigningKey }) => selfSigningKey)
    if (masterKeys.size > 0) parts.push(`"master_keys":${objectText(masterKeys)}`)
    if (selfSigningKeys.size > 0) parts.push(`"self_signing_keys":${objectText(selfSigningKeys)}`)
    return new Reply(200, `{${parts.join(',')}}`)
  },
})

const textsOf = (
  lists: ReadonlyMap<string, RemoteDeviceList>,
  textOf: (list: RemoteDeviceList) => string | undefined,
): Map<string, string> =>
  new Map(
    Array.from(lists).flatMap(([userId, list]) => {
      const text = textOf(list)
      return text === undefined ? [] : [[userId, text]]
    }),
  )
