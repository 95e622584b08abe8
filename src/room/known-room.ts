import { forbidden } from '../protocol/matrix-error.js'
import type { RoomName } from '../store/room-names.js'
import type { Rooms } from './rooms.js'

export type KnownRoom = Awaited<ReturnType<Rooms['named']>>

/** This server holds it, and knows its version. Others are known by an invite or a knock. */
export const isKnown = (name: RoomName): name is KnownRoom => name.rules !== undefined

/**
 * The room a user wants to look into or act in. One this server does not know is one they are not in.
 * @throws MatrixError 403
 */
export async function roomOrForbidden(rooms: Rooms, roomId: string): Promise<KnownRoom> {
  const name = await rooms.deps.stores.names.find(roomId)
  if (name?.rules === undefined) throw forbidden('You are not in this room')
  return name as KnownRoom
}
