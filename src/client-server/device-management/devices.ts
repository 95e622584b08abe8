import { createHash } from 'node:crypto'
import { Type } from 'typebox'
import { byPassword } from '../../accounts/stages.js'
import { auth, deviceId, text } from '../../http/fields.js'
import type { Device } from '../../store/devices.js'
import { endpoint } from '../endpoint.js'

/**
 * /_matrix/client/v3/devices, /devices/{deviceId}, /delete_devices
 * https://spec.matrix.org/v1.19/client-server-api/#client-behaviour-4
 *
 * Deleting a device asks for the password, for every one again: a session is bound to the devices it was begun for.
 */

const clientDevice = (device: Device) => ({
  device_id: device.deviceId,
  display_name: device.displayName,
  last_seen_ts: device.lastSeenTs,
  last_seen_ip: device.lastSeenIp,
})

export const getDevices = endpoint({
  operationId: 'getDevices',
  method: 'get',
  path: '/_matrix/client/v3/devices',
  auth: 'access-token',
  handle: async ({ accounts }, { requester }) => ({
    devices: (await accounts.devices(requester.userId)).map(clientDevice),
  }),
})

export const getDevice = endpoint({
  operationId: 'getDevice',
  method: 'get',
  path: '/_matrix/client/v3/devices/:deviceId',
  auth: 'access-token',
  params: Type.Object({ deviceId }),
  handle: async ({ accounts }, { requester, params }) =>
    clientDevice(await accounts.device(requester.userId, params.deviceId)),
})

export const updateDevice = endpoint({
  operationId: 'updateDevice',
  method: 'put',
  path: '/_matrix/client/v3/devices/:deviceId',
  auth: 'access-token',
  params: Type.Object({ deviceId }),
  body: Type.Object({ display_name: Type.Optional(text(512)) }),

  async handle({ accounts }, { requester, params, body }) {
    if (body.display_name === undefined) await accounts.device(requester.userId, params.deviceId)
    else await accounts.renameDevice(requester.userId, params.deviceId, body.display_name)
    return {}
  },
})

export const deleteDevice = endpoint({
  operationId: 'deleteDevice',
  method: 'delete',
  path: '/_matrix/client/v3/devices/:deviceId',
  auth: 'access-token',
  params: Type.Object({ deviceId }),
  body: Type.Object({ auth }),
  emptyBody: 'allowed',

  async handle({ accounts, interactiveAuth }, { requester, params, body, ip }) {
    const operation = `deleteDevice ${params.deviceId}`
    await interactiveAuth.require(byPassword(operation, accounts, requester, ip), body.auth)
    await accounts.deleteDevices(requester.userId, { deviceIds: [params.deviceId] })
    return {}
  },
})

export const deleteDevices = endpoint({
  operationId: 'deleteDevices',
  method: 'post',
  path: '/_matrix/client/v3/delete_devices',
  auth: 'access-token',
  body: Type.Object({ devices: Type.Array(deviceId, { maxItems: 10_000 }), auth }),

  async handle({ accounts, interactiveAuth }, { requester, body, ip }) {
    const operation = `deleteDevices ${digest(body.devices)}`
    await interactiveAuth.require(byPassword(operation, accounts, requester, ip), body.auth)
    await accounts.deleteDevices(requester.userId, { deviceIds: body.devices })
    return {}
  },
})

/** Of a set of device ids, in whatever order. */
const digest = (deviceIds: readonly string[]): string =>
  createHash('sha256')
    .update(JSON.stringify([...new Set(deviceIds)].sort()))
    .digest('base64url')
