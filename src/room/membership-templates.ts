/**
 * Templates of the events by which users of other servers join, leave and knock on a room that this server is in: made on
 * the committed head, to be signed by their server and sent back (received-memberships.ts). Whether the rules would allow
 * the event is looked at here, so that who cannot come in hears of it before they sign.
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import type { JsonObject } from '../protocol/json.js'
import {
  forbidden,
  incompatibleRoomVersion,
  unableToAuthoriseJoin,
  unableToGrantJoin,
} from '../protocol/matrix-error.js'
import { whenLoaded } from '../store/missing.js'
import { StateView } from '../store/state-view.js'
import type { BuildingHead } from './build-event.js'
import type { Draft } from './draft.js'
import type { KnownRoom } from './known-room.js'
import { eventOn } from './proposed-event.js'
import { authorisedBy, joinGrant } from './restricted-join.js'
import type { Rooms } from './rooms.js'

/** What a user of another server becomes by an event that their server makes and ours takes in. */
export type Handshake = 'join' | 'leave' | 'knock'

export interface Template {
  readonly room_version: string
  readonly event: JsonObject
}

/** @throws MatrixError 400 M_INCOMPATIBLE_ROOM_VERSION */
export function requireVersion({ rules }: KnownRoom, versions: readonly string[]): void {
  if (!versions.includes(rules.version)) throw incompatibleRoomVersion(rules.version)
}

/** @throws MatrixError 403 when the rules would refuse the event, 400 when this server cannot let the user in. */
export async function membershipTemplate(
  rooms: Rooms,
  name: KnownRoom,
  userId: string,
  membership: Handshake,
): Promise<Template> {
  if (membership === 'knock' && !name.rules.knocking) throw forbidden('Rooms of this version cannot be knocked on')
  const more = membership === 'join' ? await joinAuthorisationFor(rooms, name, userId) : {}
  const draft = { type: 'm.room.member', stateKey: userId, sender: userId, content: { ...more, membership } }
  const head = await rooms.head(name)
  const view = new StateView(rooms.deps.stores, name.room)
  const event = await whenLoaded(() => templateOn(rooms, name, head, view, draft))
  return { room_version: name.rules.version, event }
}

function templateOn(rooms: Rooms, name: KnownRoom, head: BuildingHead, view: StateView, draft: Draft): JsonObject {
  // Where it is a key of the event, the id is for the server to choose whose event it becomes.
  const { event_id: _ours, ...template } = eventOn(rooms, name, head, view, draft)
  return { ...template, origin: rooms.deps.server.name } as JsonObject
}

/**
 * Who of this server lets a user of another into a restricted room.
 * https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
 */
async function joinAuthorisationFor(rooms: Rooms, name: KnownRoom, userId: string): Promise<JsonObject> {
  const by = await requireJoinGrant(rooms, name, userId)
  return by === undefined ? {} : authorisedBy(by)
}

/** @throws MatrixError unless the user needs nobody to let them in (undefined), or somebody may. */
export async function requireJoinGrant(rooms: Rooms, name: KnownRoom, userId: string): Promise<string | undefined> {
  const grant = await joinGrant(rooms, name, userId)
  switch (grant.kind) {
    case 'not needed':
      return undefined
    case 'granted':
      return grant.by
    case 'refused':
      throw forbidden(`${userId} is neither invited nor in a room whose members may join`)
    case 'unable to tell':
      throw unableToAuthoriseJoin('This server does not know all rooms whose members may join')
    case 'unable to grant':
      throw unableToGrantJoin('Nobody of this server is in the room who could let others in')
  }
}
