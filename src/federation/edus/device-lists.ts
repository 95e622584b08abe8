import type { Transaction } from 'kysely'
import { crossSigningKeyText, deviceKeysText, isDeviceId } from '../../protocol/device-keys.js'
import { own, type Json, type JsonObject } from '../../protocol/json.js'
import { noteDeviceListChange } from '../../store/device-lists.js'
import {
  applySigningKeys,
  applyUpdate,
  sharingRooms,
  type Applied,
  type DeviceUpdate,
} from '../../store/remote-devices.js'
import type { Tables } from '../../store/tables.js'
import { displayName, isStreamId } from '../remote-keys.js'
import { userOf, type Edu, type EduDeps } from './edu.js'

/**
 * A device of a user of another server changed. A list that nobody here follows is not kept for it; that it changed is
 * told all the same to who shares a room with the user.
 * https://spec.matrix.org/v1.19/server-server-api/#device-management
 */
export async function takeDeviceListUpdate(deps: EduDeps, { origin, content, counters }: Edu): Promise<void> {
  const userId = userOf(origin, content, 'user_id')
  if (userId === undefined) return counters.countDropped('other server')
  const update = readUpdate(userId, content)
  if (update === undefined) return counters.countDropped('format')
  await take(deps, userId, (trx) => applyUpdate(trx, update, deps.now()))
}

function readUpdate(userId: string, content: JsonObject): DeviceUpdate | undefined {
  const [deviceId, streamId, prevIds] = [own(content, 'device_id'), own(content, 'stream_id'), prevIdsIn(content)]
  if (!isDeviceId(deviceId) || !isStreamId(streamId) || prevIds === undefined) return undefined
  const update = { userId, deviceId, streamId, prevIds }
  if (own(content, 'deleted') === true) return { ...update, change: { kind: 'deleted' } }
  const [keys, name] = [own(content, 'keys'), displayName(own(content, 'device_display_name'))]
  const body = keys === undefined ? undefined : deviceKeysText(keys, userId, deviceId)
  if (keys !== undefined && body === undefined) return undefined
  return { ...update, change: { kind: 'is', displayName: name, body } }
}

/** "May be missing or empty for the first EDU in a sequence." */
function prevIdsIn(content: JsonObject): number[] | undefined {
  const prevIds = own(content, 'prev_id') ?? []
  if (!Array.isArray(prevIds) || prevIds.length > MAX_PREV_IDS) return undefined
  const ids = (prevIds as readonly Json[]).filter(isStreamId)
  return ids.length === prevIds.length ? ids : undefined
}

const MAX_PREV_IDS = 1_000

/** https://spec.matrix.org/v1.19/server-server-api/#definition-msigning_key_update */
export async function takeSigningKeyUpdate(deps: EduDeps, { origin, content, counters }: Edu): Promise<void> {
  const userId = userOf(origin, content, 'user_id')
  if (userId === undefined) return counters.countDropped('other server')
  const [master, selfSigning] = [own(content, 'master_key'), own(content, 'self_signing_key')]
  const masterKey = crossSigningKeyText(master, userId, 'master')
  const selfSigningKey = crossSigningKeyText(selfSigning, userId, 'self_signing')
  const isMalformed =
    (master !== undefined && masterKey === undefined) || (selfSigning !== undefined && selfSigningKey === undefined)
  if (isMalformed) return counters.countDropped('format')
  const update = { userId, masterKey, selfSigningKey }
  await take(deps, userId, (trx) => applySigningKeys(trx, update, deps.now()))
}

/** Clients hear of a stale list when it was had. */
async function take(
  { db, deviceLists, serverName, now }: EduDeps,
  userId: string,
  apply: (trx: Transaction<Tables>) => Promise<Applied>,
): Promise<void> {
  const isNews = await db.transaction().execute(async (trx) => {
    const applied = await apply(trx)
    if (applied !== 'not followed') return applied === 'changed'
    if (!(await sharingRooms(trx, serverName, [userId])).has(userId)) return false
    await noteDeviceListChange(trx, userId, now())
    return true
  })
  if (isNews) await deviceLists.changed(userId)
}
