import { own } from '../json.js'
import { type Verdict, allow, reject } from '../verdict.js'
import type { MemberChange } from './member.js'
import { checkThirdPartyInvite } from './third-party-invite.js'

/** Authorisation of `m.room.member` with membership `invite`, the same in all room versions. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules */
export function checkInvite(change: MemberChange): Verdict {
  const { event, sender, target, levels } = change

  // If content has a third_party_invite property: …
  if (own(event.content, 'third_party_invite') !== undefined) return checkThirdPartyInvite(change)

  // If the sender's current membership state is not join, reject.
  if (sender.membership !== 'join') return reject('invite: the sender is not joined')

  // If target user's current membership state is join or ban, reject.
  if (target.membership === 'join') return reject('invite: the target is already joined')
  if (target.membership === 'ban') return reject('invite: the target is banned')

  // If the sender's power level is greater than or equal to the invite level, allow.
  // Otherwise, reject.
  return sender.level >= levels.invite ? allow : reject('invite: the sender is below the invite level')
}
