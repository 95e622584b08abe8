import { own, ownString } from '../../protocol/json.js'
import { openRoom, userOf, type Edu, type EduDeps } from './edu.js'

/** An EDU does not say for how long. Servers say it again before this, in ms. */
const TIMEOUT = 60_000

/** https://spec.matrix.org/v1.19/server-server-api/#typing-notifications */
export async function takeTyping(deps: EduDeps, edu: Edu): Promise<void> {
  const { content, counters, origin } = edu
  const [roomId, isTyping] = [ownString(content, 'room_id'), own(content, 'typing')]
  if (roomId === undefined || typeof isTyping !== 'boolean') return counters.countDropped('format')
  const userId = userOf(origin, content, 'user_id')
  if (userId === undefined) return counters.countDropped('other server')
  const name = await openRoom(deps, edu, roomId)
  if (name === undefined) return
  if (!(await deps.rooms.takesPart(name, userId))) return counters.countDropped('not joined')
  deps.typing.set(name.room, userId, isTyping ? TIMEOUT : 'stop')
}
