/**
 * Changes of membership that local users ask for. Who may do what is the business of the authorisation rules; what they
 * cannot refuse is refused here, in checks that hold on the head each event is built on: a kick of somebody who is not in
 * the room would be allowed as a change of reason, and one of somebody who is banned as an unban.
 */
import type { Kysely } from 'kysely'
import { isUserId, serverNameOf } from '../protocol/identifiers.js'
import type { JsonObject } from '../protocol/json.js'
import { badJson, forbidden, invalidParam } from '../protocol/matrix-error.js'
import { membershipIn } from '../store/memberships.js'
import { profile } from '../store/profiles.js'
import type { RoomName } from '../store/room-names.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Tables } from '../store/tables.js'
import { carryOver } from './carry-over.js'
import { requireInvitable } from './invitable.js'
import type { InvitesElsewhere } from './invites-elsewhere.js'
import type { KnownRoom } from './known-room.js'
import { memberContent } from './member-content.js'
import { joinAuthorisation } from './restricted-join.js'
import type { MembershipCheck, Rooms } from './rooms.js'
import { refusedWhenTooCostly } from './third-party-invites.js'
import { unheldEnding } from './unheld-ending.js'

export interface MembershipDeps {
  readonly db: Kysely<Tables>
  readonly rooms: Rooms
}

export interface InviteDeps extends MembershipDeps {
  readonly memberships: InvitesElsewhere
}

/** `more`: what the member event says beside the membership, such as a reason. Who is joined already stays so. */
export async function join(deps: MembershipDeps, name: KnownRoom, userId: string, more: JsonObject): Promise<void> {
  const membership = await deps.rooms.membership(name, userId)
  if (membership !== 'join') await sendJoin(deps, name, userId, more, (now) => stays(now === 'join'))
  await carryOver(deps, name, userId)
}

const stays = (isSo: boolean) => (isSo ? 'stays' : undefined)

async function sendJoin(
  deps: MembershipDeps,
  name: KnownRoom,
  userId: string,
  more: JsonObject,
  check?: MembershipCheck,
): Promise<StoredEvent> {
  const authorisation = await joinAuthorisation(deps.rooms, name, userId)
  const content = memberContent('join', await profile(deps.db, userId), { ...more, ...authorisation })
  return deps.rooms.changeMembership(name, userId, userId, content, check)
}

/** Leaves a room, declines an invite, takes back a knock. Who has left already stays so. */
export async function leave(
  { rooms }: MembershipDeps,
  name: KnownRoom,
  userId: string,
  more: JsonObject,
): Promise<void> {
  await rooms.changeMembership(name, userId, userId, { ...more, membership: 'leave' }, (now) => {
    if (now === undefined) throw forbidden('You are not in this room')
    return stays(now === 'leave')
  })
}

/**
 * Declines an invite to a room that this server does not hold, or takes back a knock on one. It works without the room's
 * servers; telling them is the business of federation.
 */
export async function leaveUnheld(
  { db, rooms }: MembershipDeps,
  { room, roomId }: RoomName,
  user: string,
  more: JsonObject,
): Promise<void> {
  const { now, writer } = rooms.deps
  const content = { ...more, membership: 'leave' } as const
  const strippedState = unheldEnding({ roomId, user, sender: user, content, originServerTs: now() })
  const ended = { room, user, membership: 'leave', sender: user, strippedState } as const
  for (;;) {
    const current = await membershipIn(db, room, user)
    if (current === undefined) throw forbidden('You are not in this room')
    if (current.membership !== 'invite' && current.membership !== 'knock') return
    if (await writer.writeMembership(ended, current.position)) return
  }
}

/** @throws MatrixError 404 for a user who does not exist; for one of another server, what their server says. */
export async function invite(
  { db, rooms, memberships }: InviteDeps,
  name: KnownRoom,
  sender: string,
  target: string,
  more: JsonObject,
): Promise<StoredEvent> {
  if (serverNameOf(target) !== rooms.deps.server.name) return memberships.invite(name, sender, target, more)
  await requireInvitable(db, [target])
  const content = memberContent('invite', await profile(db, target), more)
  return refusedWhenTooCostly(rooms.changeMembership(name, sender, target, content))
}

export async function knock(
  { db, rooms }: MembershipDeps,
  name: KnownRoom,
  userId: string,
  more: JsonObject,
): Promise<StoredEvent> {
  if (!name.rules.knocking) throw forbidden('Rooms of this version cannot be knocked on')
  return rooms.changeMembership(name, userId, userId, memberContent('knock', await profile(db, userId), more))
}

export const kick = (deps: MembershipDeps, name: KnownRoom, sender: string, target: string, more: JsonObject) =>
  remove(deps, name, sender, target, more, (current) => {
    if (current === undefined || current === 'leave' || current === 'ban') {
      throw forbidden('The user to kick is not in the room')
    }
  })

export const unban = (deps: MembershipDeps, name: KnownRoom, sender: string, target: string, more: JsonObject) =>
  remove(deps, name, sender, target, more, (current) => {
    if (current !== 'ban') throw forbidden('The user to unban is not banned')
  })

async function remove(
  { rooms }: MembershipDeps,
  name: KnownRoom,
  sender: string,
  target: string,
  more: JsonObject,
  check: MembershipCheck,
): Promise<StoredEvent> {
  return rooms.changeMembership(name, sender, target, { ...more, membership: 'leave' }, check)
}

export const ban = ({ rooms }: MembershipDeps, name: KnownRoom, sender: string, target: string, more: JsonObject) =>
  rooms.changeMembership(name, sender, target, { ...more, membership: 'ban' })

/** An `m.room.member` event as a client wrote it: the same as what the endpoints for it do, with more in its content. */
export async function setMember(
  deps: InviteDeps,
  name: KnownRoom,
  sender: string,
  target: string,
  { membership, join_authorised_via_users_server: _claimed, ...more }: JsonObject,
): Promise<StoredEvent> {
  // Who lets a user in is for this server to say. Clients that change a display name send back what they read.
  if (!isUserId(target)) throw invalidParam('The state key of m.room.member must be a user id')
  const isOwn = sender === target
  switch (membership) {
    case 'join':
      // The rules refuse the join of somebody else.
      if (!isOwn) return deps.rooms.changeMembership(name, sender, target, { ...more, membership })
      return sendJoin(deps, name, target, more)
    case 'knock':
      if (!isOwn) return deps.rooms.changeMembership(name, sender, target, { ...more, membership })
      return knock(deps, name, target, more)
    case 'invite':
      return invite(deps, name, sender, target, more)
    case 'ban':
      return ban(deps, name, sender, target, more)
    case 'leave':
      return remove(deps, name, sender, target, more, (current) => {
        if (current === undefined || current === 'leave') throw forbidden('The user is not in the room')
      })
    default:
      throw badJson('body.membership must be join, invite, leave, ban or knock')
  }
}
