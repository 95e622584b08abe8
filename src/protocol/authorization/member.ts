/**
 * Authorisation of `m.room.member`: what all memberships share, and which file judges which membership.
 * https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
import { isUserId } from '../identifiers.js'
import { own, ownString } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, reject } from '../verdict.js'
import { checkBan } from './member-ban.js'
import { checkInvite } from './member-invite.js'
import { checkJoin } from './member-join.js'
import { checkKnock } from './member-knock.js'
import { checkLeave } from './member-leave.js'
import { type PowerLevels, powerLevels } from './power-levels.js'
import type { StateLookup } from './state-lookup.js'
import type { SpendChecks } from './third-party-invite.js'

/** A user as the state before the event knows them. */
export interface Party {
  readonly userId: string
  /** Undefined for who never was in the room. */
  readonly membership: string | undefined
  readonly level: number
}

/** A membership event taken apart: who changes whose membership, in what room. */
export interface MemberChange {
  readonly event: RoomEvent
  readonly create: RoomEvent
  readonly state: StateLookup
  readonly levels: PowerLevels
  readonly sender: Party
  /** The user in `state_key`. */
  readonly target: Party
  readonly spendChecks: SpendChecks
}

/** The membership of a user in a state; undefined for who never was in the room. */
export function membershipOf(state: StateLookup, userId: string): string | undefined {
  const member = state('m.room.member', userId)
  return member === undefined ? undefined : ownString(member.content, 'membership')
}

/** `invite` when the room has no join rules or they name none. What is no string is no rule: undefined. */
export function joinRuleOf(state: StateLookup): string | undefined {
  const event = state('m.room.join_rules', '')
  const joinRule = event === undefined ? undefined : own(event.content, 'join_rule')
  if (joinRule === undefined) return 'invite'
  return typeof joinRule === 'string' ? joinRule : undefined
}

/**
 * The user a membership event claims to be authorised by. The event is valid only if the server of this user signed it
 * too, which the caller checks with the other signatures. Undefined before v8 and when there is no such claim; null when
 * what is claimed is no user ID, which no signature can make good.
 */
export function joinAuthorisedVia(rules: RoomVersionRules, event: RoomEvent): string | null | undefined {
  if (!rules.restrictedJoins || event.type !== 'm.room.member') return undefined
  const user = own(event.content, 'join_authorised_via_users_server')
  if (user === undefined) return undefined
  return typeof user === 'string' && isUserId(user) ? user : null
}

export function checkMember(
  rules: RoomVersionRules,
  event: RoomEvent,
  state: StateLookup,
  create: RoomEvent,
  spendChecks: SpendChecks,
): Verdict {
  // If there is no state_key property, or no membership property in content, reject.
  if (event.stateKey === undefined) return reject('member: no state_key')
  if (own(event.content, 'membership') === undefined) return reject('member: no membership')

  // Since v8: if content has a join_authorised_via_users_server property: if the event is not validly signed by the
  // homeserver of the user ID denoted by the key, reject.
  // The signature is the caller's to check; here only that there is a server to have signed.
  if (joinAuthorisedVia(rules, event) === null) {
    return reject('member: join_authorised_via_users_server is not a user ID')
  }

  return checkMembership(rules, { ...memberChange(rules, event, event.stateKey, state, create), spendChecks })
}

function checkMembership(rules: RoomVersionRules, change: MemberChange): Verdict {
  switch (ownString(change.event.content, 'membership')) {
    case 'join':
      return checkJoin(rules, change)
    case 'invite':
      return checkInvite(change)
    case 'leave':
      return checkLeave(rules, change)
    case 'ban':
      return checkBan(change)
    case 'knock':
      // Since v7.
      return rules.knocking ? checkKnock(rules, change) : unknownMembership
    default:
      // Otherwise, the membership is unknown. Reject.
      return unknownMembership
  }
}

const unknownMembership = reject('member: unknown membership')

function memberChange(
  rules: RoomVersionRules,
  event: RoomEvent,
  targetId: string,
  state: StateLookup,
  create: RoomEvent,
): Omit<MemberChange, 'spendChecks'> {
  const levels = powerLevels(rules, create, state('m.room.power_levels', ''))
  const party = (userId: string): Party => ({
    userId,
    membership: membershipOf(state, userId),
    level: levels.levelOf(userId),
  })
  const sender = party(event.sender)
  return { event, create, state, levels, sender, target: targetId === event.sender ? sender : party(targetId) }
}
