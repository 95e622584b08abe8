import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import type { MemberChange } from './member.js'

/**
 * Authorisation of `m.room.member` with membership `leave`: leaving, declining, taking back a knock, kicking, unbanning.
 * Same in all room versions except for knocking. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
export function checkLeave(
  rules: Pick<RoomVersionRules, 'knocking'>,
  { sender, target, levels }: Pick<MemberChange, 'sender' | 'target' | 'levels'>,
): Verdict {
  // If the sender matches state_key, allow if and only if that user's current membership state is invite or join (since
  // v7: or knock).
  if (sender.userId === target.userId) {
    const mayLeave =
      sender.membership === 'invite' ||
      sender.membership === 'join' ||
      (rules.knocking && sender.membership === 'knock')
    return mayLeave ? allow : reject('leave: own membership is none that can be left')
  }

  // If the sender's current membership state is not join, reject.
  if (sender.membership !== 'join') return reject('leave: the sender is not joined')

  // If the target user's current membership state is ban, and the sender's power level is less than the ban level, reject.
  if (target.membership === 'ban' && !(sender.level >= levels.ban)) {
    return reject('leave: the sender is below the ban level, and the target is banned')
  }

  // If the sender's power level is greater than or equal to the kick level, and the target user's power level is less than
  // the sender's power level, allow. Otherwise, reject.
  return sender.level >= levels.kick && target.level < sender.level
    ? allow
    : reject('leave: the sender is below the kick level, or the target is not below the sender')
}
