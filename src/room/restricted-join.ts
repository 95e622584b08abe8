/**
 * Joining a room whose join rule is `restricted`: who is in one of the rooms it names may join on the word of a member of
 * this server who could invite them. https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
 */
import { creatorsOf, powerLevels } from '../protocol/authorization/index.js'
import { isRoomId, serverNameOf } from '../protocol/identifiers.js'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { forbidden } from '../protocol/matrix-error.js'
import { joinedOfServer } from '../store/memberships.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'

/**
 * What a join has to say beside the membership: nothing, or who lets the user in.
 * @throws MatrixError 403 when the room is restricted and nothing lets them in.
 */
export async function joinAuthorisation(rooms: Rooms, name: KnownRoom, userId: string): Promise<JsonObject> {
  const joinRules = await rooms.currentState(name, 'm.room.join_rules', '')
  if (joinRules === undefined || !isRestricted(name, joinRules)) return {}
  const membership = await rooms.membership(name, userId)
  if (membership === 'join' || membership === 'invite' || membership === 'ban') return {}
  if (!(await isInAllowedRoom(rooms, joinRules, userId))) {
    throw forbidden('You are neither invited nor in a room whose members may join')
  }
  const authoriser = await authoriserIn(rooms, name)
  if (authoriser === undefined) throw forbidden('Nobody of this server is in the room who could let you in')
  return { join_authorised_via_users_server: authoriser }
}

function isRestricted({ rules }: KnownRoom, joinRules: StoredEvent): boolean {
  const rule = ownString(joinRules.event.content, 'join_rule')
  return (rules.restrictedJoins && rule === 'restricted') || (rules.knockRestrictedJoins && rule === 'knock_restricted')
}

async function isInAllowedRoom(rooms: Rooms, joinRules: StoredEvent, userId: string): Promise<boolean> {
  const allow = own(joinRules.event.content, 'allow')
  for (const condition of Array.isArray(allow) ? allow.slice(0, MAX_CONDITIONS) : []) {
    if (!isObject(condition) || ownString(condition, 'type') !== 'm.room_membership') continue
    const roomId = ownString(condition, 'room_id') ?? ''
    const allowed = isRoomId(roomId) ? await rooms.deps.stores.names.find(roomId) : undefined
    if (allowed?.rules !== undefined && (await rooms.membership(allowed, userId)) === 'join') return true
  }
  return false
}

/** Each may cost a look into another room. */
const MAX_CONDITIONS = 100

/** Whoever is named in the power levels first: in most rooms nobody else can invite. */
async function authoriserIn(rooms: Rooms, name: KnownRoom): Promise<string | undefined> {
  const create = (await rooms.head(name)).create
  if (create === undefined) return undefined
  const event = await rooms.currentState(name, 'm.room.power_levels', '')
  const levels = powerLevels(name.rules, create.event, event?.event)
  const users = event && own(event.event.content, 'users')
  const named = [...creatorsOf(name.rules, create.event), ...(isObject(users) ? Object.keys(users) : [])]
  const { server, stores } = rooms.deps
  const ours = named.filter((user) => serverNameOf(user) === server.name)
  const mayInvite = (user: string) => levels.levelOf(user) >= levels.invite
  for (const user of ours.filter(mayInvite)) if ((await rooms.membership(name, user)) === 'join') return user
  if (!(levels.usersDefault >= levels.invite)) return undefined
  // One more than are named: there is somebody among them who is not, if there is anybody.
  return (await joinedOfServer(stores.db, name.room, server.name, ours.length + 1)).find(mayInvite)
}
