import { type Verdict, allow, reject } from '../verdict.js'
import type { MemberChange } from './member.js'

/** Authorisation of `m.room.member` with membership `ban`, the same in all room versions. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules */
export function checkBan({ sender, target, levels }: Pick<MemberChange, 'sender' | 'target' | 'levels'>): Verdict {
  // If the sender's current membership state is not join, reject.
  if (sender.membership !== 'join') return reject('ban: the sender is not joined')

  // If the sender's power level is greater than or equal to the ban level, and the target user's power level is less than
  // the sender's power level, allow. Otherwise, reject.
  return sender.level >= levels.ban && target.level < sender.level
    ? allow
    : reject('ban: the sender is below the ban level, or the target is not below the sender')
}
