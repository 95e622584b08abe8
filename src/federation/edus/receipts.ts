import { isEventId } from '../../protocol/identifiers.js'
import { isObject, numberOf, own, ownString, type Json, type JsonObject } from '../../protocol/json.js'
import type { KnownRoom } from '../../room/known-room.js'
import type { Mark } from '../../room/receipts.js'
import { isUserOf, openRoom, type Edu, type EduDeps } from './edu.js'

/**
 * Each receipt stands for itself: its user must be of the server that sends it and in the room (CVE-2023-42453). Types
 * but `m.read` are not sent between servers. https://spec.matrix.org/v1.19/server-server-api/#receipts
 */
export async function takeReceiptEdu(deps: EduDeps, edu: Edu): Promise<void> {
  for (const [roomId, types] of Object.entries(edu.content)) {
    const users = isObject(types) ? own(types, 'm.read') : undefined
    if (!isObject(users)) edu.counters.countDropped('format')
    else await takeOfRoom(deps, edu, roomId, users)
  }
}

/** As many receipts as one of a room that is not here counts for: each is looked up, and honest servers send hardly any. */
const OF_ROOM_ELSEWHERE = 20

async function takeOfRoom(deps: EduDeps, edu: Edu, roomId: string, users: JsonObject): Promise<void> {
  // Rooms that are not here, or deny the server, cost too.
  if (edu.left.receipts-- <= 0) return edu.counters.countDropped('too much')
  const name = await openRoom(deps, edu, roomId)
  if (name === undefined) {
    edu.left.receipts -= OF_ROOM_ELSEWHERE
    return
  }
  for (const [userId, said] of Object.entries(users)) {
    if (edu.left.receipts-- <= 0) return edu.counters.countDropped('too much')
    await takeOfUser(deps, edu, name, userId, said)
  }
}

async function takeOfUser(
  deps: EduDeps,
  { origin, counters }: Edu,
  name: KnownRoom,
  userId: string,
  said: Json | undefined,
): Promise<void> {
  if (!isUserOf(origin, userId)) return counters.countDropped('other server')
  const mark = markOf(said)
  if (mark === undefined) return counters.countDropped('format')
  if (!(await deps.rooms.takesPart(name, userId))) return counters.countDropped('not joined')
  if ((await deps.receipts.take(name, userId, mark)) === 'no news') counters.countDropped('no news')
}

function markOf(said: Json | undefined): Mark | undefined {
  const [eventIds, data] = isObject(said) ? [own(said, 'event_ids'), own(said, 'data')] : []
  const eventId = Array.isArray(eventIds) ? (eventIds as readonly Json[])[0] : undefined
  if (typeof eventId !== 'string' || !isEventId(eventId) || !isObject(data)) return undefined
  const ts = numberOf(own(data, 'ts'))
  if (ts === undefined || !Number.isSafeInteger(ts) || ts < 0) return undefined
  const threadId = ownString(data, 'thread_id')
  if (own(data, 'thread_id') === undefined) return { type: 'm.read', eventId, ts }
  if (threadId !== 'main' && !(threadId !== undefined && isEventId(threadId))) return undefined
  return { type: 'm.read', eventId, threadId, ts }
}
