/**
 * Which state an event names as its auth events, and whether a list of them is in order.
 * https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
 */
import { isObject, own, ownString } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'

type StateKey = readonly [type: string, stateKey: string]
type Selecting = Pick<RoomEvent, 'type' | 'stateKey' | 'sender' | 'content'>

/** The places in the state that hold the auth events of an event, each once; the state need not have all of them. */
export function authEventKeys(rules: RoomVersionRules, event: Selecting): readonly StateKey[] {
  // The auth_events for the m.room.create event in a room is empty; for other events, it should be the following subset of
  // the room state:
  if (event.type === 'm.room.create') return []

  // - Depending on the room version, the m.room.create event.
  // - The current m.room.power_levels event, if any.
  // - The sender's current m.room.member event, if any.
  const keys: StateKey[] = [
    ['m.room.power_levels', ''],
    ['m.room.member', event.sender],
  ]
  if (rules.createInAuthEvents) keys.unshift(['m.room.create', ''])

  // - If type is m.room.member: …
  return event.type === 'm.room.member' ? withoutDuplicates([...keys, ...memberKeys(rules, event)]) : keys
}

function memberKeys(rules: RoomVersionRules, event: Selecting): readonly StateKey[] {
  const membership = ownString(event.content, 'membership')
  const keys: StateKey[] = []

  // - The target's current m.room.member event, if any.
  if (event.stateKey !== undefined) keys.push(['m.room.member', event.stateKey])

  // - If membership is join, invite or knock, the current m.room.join_rules event, if any.
  if (membership === 'join' || membership === 'invite' || membership === 'knock') keys.push(['m.room.join_rules', ''])

  // - If membership is invite and content contains a third_party_invite property, the current m.room.third_party_invite
  //   event with state_key matching content.third_party_invite.signed.token, if any.
  const token = membership === 'invite' ? thirdPartyToken(event) : undefined
  if (token !== undefined) keys.push(['m.room.third_party_invite', token])

  // - If membership is join, content.join_authorised_via_users_server is present, and the room version supports restricted
  //   rooms, then the m.room.member event with state_key matching content.join_authorised_via_users_server.
  const authoriser =
    membership === 'join' && rules.restrictedJoins
      ? ownString(event.content, 'join_authorised_via_users_server')
      : undefined
  if (authoriser !== undefined) keys.push(['m.room.member', authoriser])

  return keys
}

function thirdPartyToken(event: Selecting): string | undefined {
  const invite = own(event.content, 'third_party_invite')
  const signed = isObject(invite) ? own(invite, 'signed') : undefined
  return isObject(signed) ? ownString(signed, 'token') : undefined
}

/** At most seven keys: looking along the list is the quickest way. */
const withoutDuplicates = (keys: readonly StateKey[]): readonly StateKey[] =>
  keys.filter((key, index) => keys.findIndex((other) => isSameKey(key, other)) === index)

const isSameKey = (left: StateKey, right: StateKey): boolean => left[0] === right[0] && left[1] === right[1]

/**
 * The rules on the list of auth events itself. `authEvents` are those `event.authEvents` names, all of them; `rejected`
 * says which of them this server rejected. An `m.room.create` event is allowed by its own rule before this one.
 * https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
export function checkAuthEvents(
  rules: RoomVersionRules,
  event: RoomEvent,
  authEvents: readonly RoomEvent[],
  rejected: (authEvent: RoomEvent) => boolean = () => false,
): Verdict {
  if (event.type === 'm.room.create') return allow
  const keys = authEvents.map(stateKeyOf)

  // If there are duplicate entries for a given type and state_key pair, reject.
  if (withoutDuplicates(keys).length < keys.length) return reject('auth events: two of one type and state_key')

  // If there are entries whose type and state_key don't match those specified by the auth events selection algorithm
  // described in the server specification, reject.
  const selected = authEventKeys(rules, event)
  const stray = authEvents.find(
    ({ stateKey }, index) => stateKey === undefined || !selected.some((key) => isSameKey(key, keys[index]!)),
  )
  if (stray !== undefined) return reject(`auth events: a ${stray.type} event has no place there`)

  // If there are entries which were themselves rejected under the checks performed on receipt of a PDU, reject.
  if (authEvents.some(rejected)) return reject('auth events: one is rejected')

  // v1–v11: if there is no m.room.create event among the entries, reject.
  if (rules.createInAuthEvents && !authEvents.some(({ type }) => type === 'm.room.create')) {
    return reject('auth events: no m.room.create event')
  }

  // If any event in auth_events has a room_id which does not match that of the event being authorised, reject.
  return authEvents.every(({ roomId }) => roomId === event.roomId)
    ? allow
    : reject('auth events: one is of another room')
}

const stateKeyOf = ({ type, stateKey }: RoomEvent): StateKey => [type, stateKey ?? '']
