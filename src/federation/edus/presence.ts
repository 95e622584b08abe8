import { isObject, numberOf, own, ownString, type Json, type JsonObject } from '../../protocol/json.js'
import { sharingRooms } from '../../store/remote-devices.js'
import { MAX_STATUS_MSG, type Presence } from '../../sync/presence.js'
import { isUserOf, type Edu, type EduDeps } from './edu.js'

interface Said {
  readonly userId: string
  readonly presence: Presence
}

/**
 * Each update stands for itself; users who are in no room with one of ours are passed over. Nothing is kept of it beyond
 * this process. https://spec.matrix.org/v1.19/server-server-api/#presence
 */
export async function takePresence({ db, serverName, presences, now }: EduDeps, edu: Edu): Promise<void> {
  const { content, counters, left } = edu
  const push = own(content, 'push')
  if (!Array.isArray(push)) return counters.countDropped('format')
  const updates = (push as readonly Json[]).slice(0, left.presences)
  left.presences -= updates.length
  for (let more = push.length - updates.length; more > 0; more--) counters.countDropped('too much')
  const said = updates.flatMap((update) => readUpdate(edu, update, now()))
  const strangers = said.flatMap(({ userId }) => (presences?.isKnown(userId) === true ? [] : [userId]))
  const shared = await sharingRooms(db, serverName, strangers)
  const isStranger = new Set(strangers.filter((userId) => !shared.has(userId)))
  for (const { userId, presence } of said) {
    if (isStranger.has(userId)) counters.countDropped('not joined')
    else presences?.hear(userId, presence)
  }
}

function readUpdate({ origin, counters }: Edu, update: Json, now: number): Said[] {
  const userId = isObject(update) ? ownString(update, 'user_id') : undefined
  const presence = isObject(update) ? presenceIn(update, now) : undefined
  if (userId !== undefined && !isUserOf(origin, userId)) counters.countDropped('other server')
  else if (userId === undefined || presence === undefined) counters.countDropped('format')
  else return [{ userId, presence }]
  return []
}

function presenceIn(update: JsonObject, now: number): Presence | undefined {
  const [presence, ago] = [ownString(update, 'presence'), numberOf(own(update, 'last_active_ago'))]
  if (presence !== 'online' && presence !== 'unavailable' && presence !== 'offline') return undefined
  if (ago === undefined || !Number.isSafeInteger(ago) || ago < 0) return undefined
  const statusMsg = ownString(update, 'status_msg')
  return {
    presence,
    statusMsg:
      statusMsg !== undefined && statusMsg.length <= MAX_STATUS_MSG && statusMsg !== '' ? statusMsg : undefined,
    lastActiveTs: Math.max(0, now - ago),
    currentlyActive: presence === 'online' && own(update, 'currently_active') === true,
  }
}
