import { Type } from 'typebox'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { own, type JsonObject } from '../../protocol/json.js'
import { deviceKeysOf, type DeviceKeys } from '../../store/device-keys.js'
import { endpoint } from '../endpoint.js'
import { byServer, unreachable } from './local-users.js'

/**
 * POST /_matrix/client/v3/keys/query
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
 *
 * Keys are texts here and go into the answer as they are; all that is added is `unsigned`. A local user who was asked for
 * and has no such devices is in the answer, with none: clients then know that there are none.
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

  async handle({ config, db }, { body }) {
    const { local, servers } = byServer(Object.keys(body.device_keys), config.serverName)
    const keys = await deviceKeysOf(db, local)
    const users = local.map((userId) => {
      const asked = own(body.device_keys as JsonObject, userId) as readonly string[]
      return `${JSON.stringify(userId)}:{${devicesText(keys.get(userId) ?? [], asked)}}`
    })
    const failures = JSON.stringify(unreachable(servers))
    return new Reply(200, `{"device_keys":{${users.join(',')}},"failures":${failures}}`)
  },
})

/** An empty list asks for all. */
function devicesText(devices: readonly DeviceKeys[], asked: readonly string[]): string {
  const wanted = new Set(asked)
  return devices
    .filter(({ deviceId }) => wanted.size === 0 || wanted.has(deviceId))
    .map((device) => `${JSON.stringify(device.deviceId)}:${withName(device)}`)
    .join(',')
}

const withName = ({ body, displayName }: DeviceKeys): string =>
  `${body.slice(0, -1)},"unsigned":${JSON.stringify({ device_display_name: displayName })}}`
