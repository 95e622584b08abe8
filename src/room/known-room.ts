import { forbidden, notFound } from '../protocol/matrix-error.js'
import { alias } from '../store/aliases.js'
import { serverNameOf } from '../protocol/identifiers.js'
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

/** By room id, or by an alias of this server. @throws MatrixError 404 */
export async function roomByIdOrAlias(rooms: Rooms, idOrAlias: string): Promise<KnownRoom> {
  return rooms.named(idOrAlias.startsWith('#') ? await roomIdOfAlias(rooms, idOrAlias) : idOrAlias)
}

/** @throws MatrixError 404, also for the aliases of other servers: this server does not ask them. */
export async function roomIdOfAlias({ deps }: Rooms, name: string): Promise<string> {
  if (serverNameOf(name) !== deps.server.name) {
    throw notFound(`${name} is of another server, and this one does not ask other servers yet`)
  }
  const found = await alias(deps.stores.db, name)
  if (found === undefined) throw notFound(`There is no alias ${name}`)
  return found.roomId
}
