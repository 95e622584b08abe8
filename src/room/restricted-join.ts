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

/** What lets a user into a room, if anything has to. */
export type JoinGrant =
  /** Nothing: the room is not restricted, or the user is in it or invited, or banned. The rules decide. */
  | { readonly kind: 'not needed' }
  | { readonly kind: 'granted'; readonly by: string }
  /** They are in none of the rooms whose members may join. */
  | { readonly kind: 'refused' }
  /** They are in none of those that are known here, and some are not. */
  | { readonly kind: 'unable to tell' }
  /** They may join, but nobody of this server is in the room who could let them in. */
  | { readonly kind: 'unable to grant' }

/** Of a user of this server or of another. */
export async function joinGrant(rooms: Rooms, name: KnownRoom, userId: string): Promise<JoinGrant> {
  const joinRules = await rooms.currentState(name, 'm.room.join_rules', '')
  if (joinRules === undefined || !isRestricted(name, joinRules)) return { kind: 'not needed' }
  const membership = await rooms.membership(name, userId)
  if (membership === 'join' || membership === 'invite' || membership === 'ban') return { kind: 'not needed' }
  const isAllowed = await isInAllowedRoom(rooms, joinRules, userId)
  if (isAllowed !== 'yes') return { kind: isAllowed === 'no' ? 'refused' : 'unable to tell' }
  const by = await authoriserIn(rooms, name)
  return by === undefined ? { kind: 'unable to grant' } : { kind: 'granted', by }
}

/**
 * What the join of a user of this server has to say beside the membership: nothing, or who lets them in.
 * @throws MatrixError 403 when the room is restricted and nothing lets them in.
 */
export async function joinAuthorisation(rooms: Rooms, name: KnownRoom, userId: string): Promise<JsonObject> {
  const grant = await joinGrant(rooms, name, userId)
  switch (grant.kind) {
    case 'not needed':
      return {}
    case 'granted':
      return authorisedBy(grant.by)
    case 'unable to grant':
      throw forbidden('Nobody of this server is in the room who could let you in')
    case 'refused':
    case 'unable to tell':
      throw forbidden('You are neither invited nor in a room whose members may join')
  }
}

export const authorisedBy = (userId: string): JsonObject => ({ join_authorised_via_users_server: userId })

export function isRestricted({ rules }: KnownRoom, joinRules: StoredEvent): boolean {
  const rule = ownString(joinRules.event.content, 'join_rule')
  return (rules.restrictedJoins && rule === 'restricted') || (rules.knockRestrictedJoins && rule === 'knock_restricted')
}

/** The state of a room counts as long as users of ours are in it: nobody tells us of changes afterwards. */
async function isInAllowedRoom(
  rooms: Rooms,
  joinRules: StoredEvent,
  userId: string,
): Promise<'yes' | 'no' | 'unknown'> {
  const { stores, server } = rooms.deps
  let isAllKnown = true
  for (const roomId of allowedRooms(joinRules)) {
    const allowed = await stores.names.find(roomId)
    const isKnown =
      allowed?.rules !== undefined && (await joinedOfServer(stores.db, allowed.room, server.name, 1)).length > 0
    if (isKnown && (await rooms.membership(allowed, userId)) === 'join') return 'yes'
    isAllKnown &&= isKnown
  }
  return isAllKnown ? 'no' : 'unknown'
}

/** Whose members may join. What is not a condition of a kind that is known here lets nobody in. */
export function allowedRooms(joinRules: StoredEvent): string[] {
  const allow = own(joinRules.event.content, 'allow')
  return (Array.isArray(allow) ? allow.slice(0, MAX_CONDITIONS) : []).flatMap((condition) => {
    if (!isObject(condition) || ownString(condition, 'type') !== 'm.room_membership') return []
    const roomId = ownString(condition, 'room_id') ?? ''
    return isRoomId(roomId) ? [roomId] : []
  })
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
