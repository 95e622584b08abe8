import { Type } from 'typebox'
import { userId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { invalidParam } from '../../protocol/matrix-error.js'
import { deviceKeysOf, type DeviceKeys } from '../../store/device-keys.js'
import { deviceListStreamId } from '../../store/device-list-stream.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/user/devices/{userId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
 *
 * Only of users of this server (CVE-2023-43796); of one that does not exist, no devices. The stream id is read before the
 * devices: of a change between the two the other server hears by an update that follows this id, and takes it twice.
 */
export const getUserDevices = endpoint({
  operationId: 'getUserDevices',
  method: 'get',
  path: '/_matrix/federation/v1/user/devices/:userId',
  auth: 'signed-request',
  params: Type.Object({ userId }),

  async handle({ config, db }, { params }) {
    if (serverNameOf(params.userId) !== config.serverName) throw invalidParam('This user is of another server')
    const streamId = await deviceListStreamId(db, params.userId)
    const devices = (await deviceKeysOf(db, [params.userId])).get(params.userId) ?? []
    const head = `"user_id":${JSON.stringify(params.userId)},"stream_id":${streamId}`
    return new Reply(200, `{${head},"devices":[${devices.map(deviceText).join(',')}]}`)
  },
})

const deviceText = ({ deviceId, displayName, body }: DeviceKeys): string => {
  const name = displayName === undefined ? '' : `,"device_display_name":${JSON.stringify(displayName)}`
  return `{"device_id":${JSON.stringify(deviceId)},"keys":${body}${name}}`
}
