import { ownString } from '../json.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import { creatorOf } from './create.js'
import { type MemberChange, joinRuleOf, membershipOf } from './member.js'

/** Authorisation of `m.room.member` with membership `join`. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules */
export function checkJoin(rules: RoomVersionRules, change: MemberChange): Verdict {
  const { event, create, state, sender, target } = change

  // If the only previous event is an m.room.create and the state_key is the creator (since v11: the sender of the
  // m.room.create), allow.
  const isFirst = event.prevEvents.length === 1 && event.prevEvents[0] === create.eventId
  if (isFirst && target.userId === creatorOf(rules, create)) return allow

  // If the sender does not match state_key, reject.
  if (sender.userId !== target.userId) return reject('join: of somebody else than the sender')

  // If the sender is banned, reject.
  if (sender.membership === 'ban') return reject('join: the sender is banned')

  // If the join_rule is invite (since v7: or knock) then allow if membership state is invite or join.
  const joinRule = joinRuleOf(state)
  const isInside = sender.membership === 'invite' || sender.membership === 'join'
  if (joinRule === 'invite' || (rules.knocking && joinRule === 'knock')) {
    return isInside ? allow : reject('join: the sender is not invited')
  }

  // Since v8: if the join_rule is restricted (since v10: or knock_restricted): if membership state is join or invite,
  // allow. …
  const isRestricted =
    (rules.restrictedJoins && joinRule === 'restricted') ||
    (rules.knockRestrictedJoins && joinRule === 'knock_restricted')
  if (isRestricted) return isInside ? allow : checkAuthorisedJoin(change)

  // If the join_rule is public, allow.
  if (joinRule === 'public') return allow

  // Otherwise, reject.
  return reject('join: the join rule does not let the sender in')
}

/** The join of somebody not invited, on the word of a member who could have invited them. */
function checkAuthorisedJoin({ event, state, levels }: MemberChange): Verdict {
  // If the join_authorised_via_users_server key in content is not a user with sufficient permission to invite other users
  // or is not a joined member of the room, reject.
  const authoriser = ownString(event.content, 'join_authorised_via_users_server')
  if (authoriser === undefined) return reject('join: neither invited nor authorised by a member')
  if (membershipOf(state, authoriser) !== 'join') return reject('join: who authorised it is not joined')
  if (!(levels.levelOf(authoriser) >= levels.invite)) return reject('join: who authorised it is below the invite level')

  // Otherwise, allow.
  return allow
}
