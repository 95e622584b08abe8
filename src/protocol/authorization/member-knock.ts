import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import { type MemberChange, joinRuleOf } from './member.js'

/** Authorisation of `m.room.member` with membership `knock`, since v7. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules */
export function checkKnock(rules: RoomVersionRules, { state, sender, target }: MemberChange): Verdict {
  // If the join_rule is anything other than knock (since v10: or knock_restricted), reject.
  const joinRule = joinRuleOf(state)
  const mayKnock = joinRule === 'knock' || (rules.knockRestrictedJoins && joinRule === 'knock_restricted')
  if (!mayKnock) return reject('knock: the join rule is none to knock at')

  // If sender does not match state_key, reject.
  if (sender.userId !== target.userId) return reject('knock: for somebody else than the sender')

  // If the sender's current membership is not ban, invite, or join, allow. Otherwise, reject.
  return sender.membership === 'ban' || sender.membership === 'invite' || sender.membership === 'join'
    ? reject('knock: the sender is banned, invited or joined')
    : allow
}
