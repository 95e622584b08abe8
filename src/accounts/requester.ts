import type { DeviceNumber } from '../protocol/numbers.js'

/** Who makes a request: a local user on one of their devices, as their access token tells. */
export interface Requester {
  readonly userId: string
  readonly device: DeviceNumber
  readonly deviceId: string
  readonly isAdmin: boolean
}
