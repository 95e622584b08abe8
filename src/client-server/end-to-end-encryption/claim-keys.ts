import { Type } from 'typebox'
import { mapOf } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { own, type JsonObject } from '../../protocol/json.js'
import { claimKeys as claim, forgetKeyCounts, type Claim, type ClaimedKey } from '../../store/device-keys.js'
import { endpoint } from '../endpoint.js'
import { byServer, unreachable } from './local-users.js'

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

  async handle({ config, db }, { body }) {
    const { local, servers } = byServer(Object.keys(body.one_time_keys), config.serverName)
    const claims = local.flatMap((userId) => claimsOf(userId, own(body.one_time_keys as JsonObject, userId)))
    const claimed = await db.transaction().execute((trx) => claim(trx, claims, Date.now()))
    forgetKeyCounts(
      db,
      claimed.map(({ device }) => device),
    )
    return new Reply(200, `{"one_time_keys":${keysText(claimed)},"failures":${JSON.stringify(unreachable(servers))}}`)
  },
})

/** No device and no algorithm has U+0000 in its name, and Postgres would refuse to look. */
const claimsOf = (userId: string, devices: unknown): Claim[] =>
  Object.entries(devices as Record<string, string>)
    .map(([deviceId, algorithm]) => ({ userId, deviceId, algorithm }))
    .filter(({ deviceId, algorithm }) => !deviceId.includes('\0') && !algorithm.includes('\0'))

/** By user, device and name of the key. Keys are texts already. */
function keysText(claimed: readonly ClaimedKey[]): string {
  const byUser = new Map<string, string[]>()
  for (const { userId, deviceId, algorithm, keyId, body } of claimed) {
    const device = `${JSON.stringify(deviceId)}:{${JSON.stringify(`${algorithm}:${keyId}`)}:${body}}`
    const devices = byUser.get(userId)
    if (devices === undefined) byUser.set(userId, [device])
    else devices.push(device)
  }
  const users = Array.from(byUser, ([userId, devices]) => `${JSON.stringify(userId)}:{${devices.join(',')}}`)
  return `{${users.join(',')}}`
}
