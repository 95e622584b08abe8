import { forbidden, notFound } from '../protocol/matrix-error.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { joinedOfServer } from '../store/memberships.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { isKnown, type KnownRoom } from './known-room.js'

type Deps = Pick<InboundDeps, 'db' | 'stores' | 'acls' | 'serverName'>

/** The room, when users of this server are in it; what is known of others is as old as their leaving. */
export async function residentRoom(
  { db, stores, serverName }: Omit<Deps, 'acls'>,
  roomId: string,
): Promise<KnownRoom | undefined> {
  const name = await stores.names.find(roomId)
  if (name === undefined || !isKnown(name)) return undefined
  return (await joinedOfServer(db, name.room, serverName, 1)).length > 0 ? name : undefined
}

/** The room that another server wants to take part in. @throws MatrixError 404, or 403 for a server its ACL denies. */
export async function roomForServer(deps: Deps, origin: string, roomId: string): Promise<KnownRoom> {
  const name = await residentRoom(deps, roomId)
  if (name === undefined) throw notFound('This server is not in the room')
  await deps.acls.require(name, origin)
  return name
}

/** @throws MatrixError 403 */
export function requireOwnUser(origin: string, userId: string): void {
  if (serverNameOf(userId) !== origin) throw forbidden(`${userId} is not a user of ${origin}`)
}
