import { defaultRoomVersion, roomVersionNames } from '../../protocol/room-versions.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/capabilities
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
 */
export const getCapabilities = endpoint({
  operationId: 'getCapabilities',
  method: 'get',
  path: '/_matrix/client/v3/capabilities',
  auth: 'access-token',
  handle: () => ({ capabilities }),
})

const capabilities = {
  'm.change_password': { enabled: true },
  'm.room_versions': {
    default: defaultRoomVersion,
    available: Object.fromEntries(roomVersionNames.map((version) => [version, 'stable'])),
  },
  'm.set_displayname': { enabled: true },
  'm.set_avatar_url': { enabled: true },
  'm.3pid_changes': { enabled: false },
  'm.get_login_token': { enabled: false },
}
