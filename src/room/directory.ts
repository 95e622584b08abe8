import { powerLevels } from '../protocol/authorization/index.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'

/** Who may set a room's canonical alias has a say in how it is found: by its aliases, and in the directory. */
export async function mayChangeDirectory(rooms: Rooms, name: KnownRoom, userId: string): Promise<boolean> {
  if ((await rooms.membership(name, userId)) !== 'join') return false
  const { create } = await rooms.head(name)
  if (create === undefined) return false
  const event = await rooms.currentState(name, 'm.room.power_levels', '')
  const levels = powerLevels(name.rules, create.event, event?.event)
  return levels.levelOf(userId) >= levels.requiredFor('m.room.canonical_alias', true)
}
