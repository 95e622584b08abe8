/**
 * The authorisation rules of all room versions: may this event be, given this state?
 *
 * An event received from another server is checked three times, with the same rules and different states
 * (https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu):
 *
 * 1. `checkAuthEvents(rules, event, authEvents, rejected)`: is the list of auth events itself in order? Then
 *    `authorize(rules, event, state, create)` with the state those auth events make. Failing means rejected.
 * 2. `authorize` with the state before the event. Failing means rejected.
 * 3. `authorize` with the current state of the room. Failing means soft-failed.
 *
 * An event we make needs only 2, which for us is 3; `authEventKeys` says which state it names as its auth events. State
 * resolution calls `authorize` with the state it is building.
 *
 * Not looked at here, because it takes keys that have to be fetched: the signatures of the event, among them that of the
 * server `joinAuthorisedVia` names. The rules never see the network, a clock or a database.
 */
import { own } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import { checkAliases } from './aliases.js'
import { checkCreate } from './create.js'
import { checkMember, membershipOf } from './member.js'
import { checkPowerLevels } from './power-levels-change.js'
import { powerLevels } from './power-levels.js'
import { checkRedaction } from './redaction.js'
import { sameServer } from './same-server.js'
import type { StateLookup } from './state-lookup.js'
import { fewChecks, type SpendChecks } from './third-party-invite.js'

export { authEventKeys, checkAuthEvents } from './auth-event-selection.js'
export { creatorOf, creatorsOf } from './create.js'
export { joinAuthorisedVia } from './member.js'
export { PowerLevels, powerLevels } from './power-levels.js'
export { redactionApplies } from './redaction.js'
export type { StateLookup } from './state-lookup.js'
export {
  decide,
  signatureChecks,
  ThirdPartyInviteTooCostly,
  vouchersOf,
  type SpendChecks,
  type Voucher,
} from './third-party-invite.js'

/**
 * The rules of the room version against one state. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 *
 * `create` is the accepted `m.room.create` event of the room. Since v12 it is found through the room id and must be given,
 * unless `state` holds it; before, it need not be given, and then comes from `state` too. A rejected create event is none.
 *
 * Which of the three checks this is, the caller knows; the rules on the list of auth events are `checkAuthEvents`.
 *
 * @throws ThirdPartyInviteTooCostly for an invite with hundreds of signatures and keys, which is neither allowed nor
 *   rejected until it is decided elsewhere; or what `spendChecks` throws instead.
 */
export function authorize(
  rules: RoomVersionRules,
  event: RoomEvent,
  state: StateLookup,
  create: RoomEvent | undefined = state('m.room.create', ''),
  spendChecks: SpendChecks = fewChecks,
): Verdict {
  // If type is m.room.create: …
  if (event.type === 'm.room.create') return checkCreate(rules, event)

  // v1–v11: if there is no m.room.create event among the entries, reject.
  // Since v12: if the event's room_id is not an event ID for an accepted m.room.create event, with the sigil ! instead of
  // $, reject.
  if (create === undefined) return reject('there is no m.room.create event')
  if (rules.roomIdIsCreateHash && !isRoomOf(create, event.roomId)) {
    return reject('room_id is not that of the m.room.create event')
  }

  // If the content of the m.room.create event in the room state has the property m.federate set to false, and the sender
  // domain of the event does not match the sender domain of the create event, reject.
  if (own(create.content, 'm.federate') === false && !sameServer(event.sender, create.sender)) {
    return reject('the room does not federate, and the sender is of another server than its creator')
  }

  // v1–v5: if type is m.room.aliases: …
  if (rules.aliasesRule && event.type === 'm.room.aliases') return checkAliases(event)

  // If type is m.room.member: …
  if (event.type === 'm.room.member') return checkMember(rules, event, state, create, spendChecks)

  // If the sender's current membership state is not join, reject.
  if (membershipOf(state, event.sender) !== 'join') return reject('the sender is not joined')

  return checkPowers(rules, event, state, create)
}

const isRoomOf = (create: RoomEvent, roomId: string): boolean =>
  create.type === 'm.room.create' && roomId.startsWith('!') && roomId.slice(1) === create.eventId.slice(1)

/** What is left once the sender is known to be joined: the rules that look at power levels. */
function checkPowers(rules: RoomVersionRules, event: RoomEvent, state: StateLookup, create: RoomEvent): Verdict {
  const current = state('m.room.power_levels', '')
  const levels = powerLevels(rules, create, current)
  const senderLevel = levels.levelOf(event.sender)

  // If type is m.room.third_party_invite: allow if and only if sender's current power level is greater than or equal to
  // the invite level.
  if (event.type === 'm.room.third_party_invite') {
    return senderLevel >= levels.invite ? allow : reject('third-party invite: the sender is below the invite level')
  }

  // If the event type's required power level is greater than the sender's power level, reject.
  if (!(senderLevel >= levels.requiredFor(event.type, event.stateKey !== undefined))) {
    return reject(`the sender is below the level required for ${event.type}`)
  }

  // If the event has a state_key that starts with an @ and does not match the sender, reject.
  if (event.stateKey !== undefined && event.stateKey.startsWith('@') && event.stateKey !== event.sender) {
    return reject('the state_key is the user ID of somebody else than the sender')
  }

  // If type is m.room.power_levels: …
  if (event.type === 'm.room.power_levels') return checkPowerLevels(rules, event, { create, current, senderLevel })

  // v1, v2: if type is m.room.redaction: …
  if (rules.redactionRule && event.type === 'm.room.redaction') return checkRedaction(event, levels)

  // Otherwise, allow.
  return allow
}
