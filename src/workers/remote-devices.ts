/**
 * Remote devices: asks for the device lists of other servers' users that are stale (src/federation/remote-devices.ts).
 * Which list is whose is said by a lease in its row, so several processes may do it; a process that dies leaves its lists
 * to the next when the lease ends. A client that asks meanwhile does not wait for it: the server is asked at once.
 */
import type { RemoteDevices } from '../federation/remote-devices.js'
import { startLoop, type Loop } from './loop.js'

export interface RemoteDevicesLoopDeps {
  readonly remoteDevices: Pick<RemoteDevices, 'resync'>
  readonly logger: { error(fields: object, message: string): void }
}

/** How late clients hear of a change whose update was lost, in ms. */
const PAUSE = 3_000

export const startRemoteDevices = ({ remoteDevices, logger }: RemoteDevicesLoopDeps, pause = PAUSE): Loop =>
  startLoop({
    name: 'remote-devices',
    pause,
    logger,
    step: async (signal) => void (await remoteDevices.resync(signal)),
  })
