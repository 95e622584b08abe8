/**
 * What another server may ask about: rooms that it is in. Every endpoint that tells of a room comes through here before
 * it looks at anything, and who is not in the room does not learn whether this server is.
 *
 * This server need not be in it: whoever misses what came before our leaving asks us, and only we may have it.
 */
import { forbidden, notFound } from '../protocol/matrix-error.js'
import type { RoomName } from '../store/room-names.js'
import { isServerIn, roomsWithEvent } from '../store/room-servers.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Gate } from './gate.js'
import { isKnown, type KnownRoom } from './known-room.js'
import type { ServerAcls } from './server-acls.js'

export interface ForServersDeps {
  readonly stores: Stores
  readonly gate: Gate
  readonly acls: ServerAcls
}

/** For members that are still to come, in ms: whoever asks has other servers to ask. */
const PATIENCE = 5_000

/** @throws MatrixError 403 unless the server is in the room and its ACL lets it take part, 503 while members are to come. */
export async function roomOfServer(deps: ForServersDeps, server: string, roomId: string): Promise<KnownRoom> {
  const name = await deps.stores.names.find(roomId)
  if (name === undefined || !isKnown(name) || !(await isServerIn(deps.stores.db, name.room, server))) {
    throw forbidden('Your server is not in the room')
  }
  await deps.acls.require(name, server)
  await deps.gate.requireWhole(name, PATIENCE)
  return name
}

/** @throws MatrixError 404 for an event that is not in the room, or was rejected. */
export async function eventIn({ stores }: ForServersDeps, { room }: RoomName, eventId: string): Promise<StoredEvent> {
  const event = await stores.events.byId(room, eventId)
  if (event === undefined || event.fate === 'rejected') throw eventNotFound()
  return event
}

/** Of those with one id: in versions 1 and 2 servers choose the ids of their events. */
const MOST_ROOMS = 100

/** An event of whichever room that the server is in. @throws MatrixError 404, or 403 where the ACL denies the server. */
export async function eventOfServer(
  deps: ForServersDeps,
  server: string,
  eventId: string,
): Promise<{ name: KnownRoom; event: StoredEvent }> {
  const { names, db } = deps.stores
  const rooms = await names.names(await roomsWithEvent(db, server, eventId, MOST_ROOMS))
  for (const name of rooms.values()) {
    if (!isKnown(name)) continue
    await deps.acls.require(name, server)
    await deps.gate.requireWhole(name, PATIENCE)
    return { name, event: await eventIn(deps, name, eventId) }
  }
  throw eventNotFound()
}

export const eventNotFound = () => notFound('There is no such event, or its state is not known here')
