import { forbidden, notFound } from '../protocol/matrix-error.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { joinedOfServer } from '../store/memberships.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { isKnown, type KnownRoom } from './known-room.js'

type Deps = Pick<InboundDeps, 'db' | 'stores' | 'acls' | 'serverName' | 'rooms'>

/** For members that are still to come, in ms: whoever asks has other servers to ask. */
const PATIENCE = 5_000

/** The room, when users of this server are in it; what is known of others is as old as their leaving. */
export async function residentRoom(
  { db, stores, serverName }: Pick<Deps, 'db' | 'stores' | 'serverName'>,
  roomId: string,
): Promise<KnownRoom | undefined> {
  const name = await stores.names.find(roomId)
  if (name === undefined || !isKnown(name)) return undefined
  return (await joinedOfServer(db, name.room, serverName, 1)).length > 0 ? name : undefined
}

/**
 * The room that another server wants to take part in.
 * @throws MatrixError 404, 403 for a server its ACL denies, 503 while members are to come: who may come in is not known.
 */
export async function roomForServer(deps: Deps, origin: string, roomId: string): Promise<KnownRoom> {
  const name = await residentRoom(deps, roomId)
  if (name === undefined) throw notFound('This server is not in the room')
  await deps.acls.require(name, origin)
  await deps.rooms.requireWhole(name, PATIENCE)
  return name
}

/** @throws MatrixError 403 */
export function requireOwnUser(origin: string, userId: string): void {
  if (serverNameOf(userId) !== origin) throw forbidden(`${userId} is not a user of ${origin}`)
}
