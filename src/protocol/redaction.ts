import { fitsId } from './identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from './json.js'
import type { RoomVersionRules } from './room-versions.js'

/**
 * Redaction: what is left of an event when its content is taken back, and what signatures and event ids cover.
 * https://spec.matrix.org/v1.19/rooms/v12/#redactions
 */

const keptTopLevel = [
  'event_id',
  'type',
  'room_id',
  'sender',
  'state_key',
  'hashes',
  'signatures',
  'depth',
  'prev_events',
  'auth_events',
  'origin_server_ts',
] as const

const keptUntilV10 = [...keptTopLevel, 'origin', 'membership', 'prev_state'] as const

/** The top-level keys that a redaction leaves as they are; `content` is cut apart from them. */
export const keptKeys = (rules: RoomVersionRules): readonly string[] =>
  rules.keepsOriginMembershipPrevState ? keptUntilV10 : keptTopLevel

/** The event without what its room version lets a redaction remove. `signatures` and `hashes` stay, `unsigned` goes. */
export function redact(rules: RoomVersionRules, pdu: JsonObject): JsonObject {
  return { ...pick(pdu, keptKeys(rules)), content: redactContent(rules, ownString(pdu, 'type'), own(pdu, 'content')) }
}

/** The content that a redacted event of this type has left. What was kept is shared with the argument, not copied. */
export function redactContent(
  rules: RoomVersionRules,
  type: string | undefined,
  content: Json | undefined,
): JsonObject {
  if (!isObject(content)) return {}
  switch (type) {
    case 'm.room.member':
      return redactMember(rules, content)
    case 'm.room.create':
      return rules.keepsCreateContent ? content : pick(content, ['creator'])
    case 'm.room.join_rules':
      return pick(content, rules.keepsAllow ? ['join_rule', 'allow'] : ['join_rule'])
    case 'm.room.power_levels':
      return pick(content, rules.keepsInviteLevel ? [...keptLevels, 'invite'] : keptLevels)
    case 'm.room.history_visibility':
      return pick(content, ['history_visibility'])
    case 'm.room.aliases':
      return rules.keepsAliases ? pick(content, ['aliases']) : {}
    case 'm.room.redaction':
      return rules.keepsRedacts ? pick(content, ['redacts']) : {}
    default:
      return {}
  }
}

const keptLevels: readonly string[] = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
]

function redactMember(rules: RoomVersionRules, content: JsonObject): JsonObject {
  const kept = pick(
    content,
    rules.keepsJoinAuthorisedViaUsersServer ? ['membership', 'join_authorised_via_users_server'] : ['membership'],
  )
  const invite = own(content, 'third_party_invite')
  // NOTE: an object without `signed` leaves an empty object, which the specification does not say. Synapse does so, and a
  // server that does otherwise computes another event id.
  return rules.keepsThirdPartyInviteSigned && isObject(invite)
    ? { ...kept, third_party_invite: pick(invite, ['signed']) }
    : kept
}

/** `keys` are ours, never a peer's, so assigning by them is safe. */
function pick(object: JsonObject, keys: readonly string[]): JsonObject {
  const kept: Record<string, Json> = {}
  for (const key of keys) {
    const value = own(object, key)
    if (value !== undefined) kept[key] = value
  }
  return kept
}

/** The event a redaction names, if what it names can be an event at all: peers write there what they like. */
export const targetOf = ({ redacts }: { readonly redacts: string | undefined }): string | undefined =>
  redacts !== undefined && fitsId(redacts) && !redacts.includes('\u0000') ? redacts : undefined
