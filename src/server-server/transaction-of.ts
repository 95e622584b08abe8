import { Reply } from '../http/reply.js'
import type { ServerServices } from './services.js'

/** PDUs in the form of a transaction of ours, as `/event` and `/backfill` answer. */
export const transactionOf = ({ config, rooms }: ServerServices, pdus: readonly string[]): Reply =>
  new Reply(
    200,
    `{"origin":${JSON.stringify(config.serverName)},"origin_server_ts":${rooms.deps.now()},"pdus":[${pdus.join(',')}]}`,
  )
