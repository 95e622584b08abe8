/**
 * What differs between the room versions, one field per difference. Code asks `rules.knocking`, never whether a version
 * is at least 7: versions have no order, and an unstable one is another row here. A version is its predecessor with the
 * changes its page in the specification names. https://spec.matrix.org/v1.19/rooms/
 */
export interface RoomVersionRules {
  readonly version: string

  // Identifiers and the shape of a PDU

  /** v1, v2: `event_id` is a key of the PDU. v3: `$` and the reference hash in standard base64. v4+: in URL-safe base64. */
  readonly eventIdFormat: 'in-pdu' | 'hash-base64' | 'hash-base64url'
  /** v1, v2: `prev_events` and `auth_events` are pairs `[event id, {sha256}]`. v3+: event ids. */
  readonly eventReferenceFormat: 'id-and-hash' | 'id'
  /** v12+: the room id is the event id of `m.room.create` with `!` for `$`, and the create event has no `room_id`. */
  readonly roomIdIsCreateHash: boolean
  /**
   * v6+: an event that is not canonical JSON (floats, integers beyond ±(2^53 - 1)) is invalid. Before, it must not be
   * refused, and `depth` may go up to 2^63 - 1.
   */
  readonly strictCanonicalJson: boolean
  /**
   * v11+: `type` and `state_key` have at most 255 bytes, as the specification says. Before, servers counted code points,
   * and rooms have events that are longer: who drops one can take no state of the room any more. Ours are never longer.
   */
  readonly limitsInBytes: boolean
  /** v11+: `redacts` is a key of the content of `m.room.redaction`. Before, it is a key of the event. */
  readonly redactsInContent: boolean

  // Signatures

  /** v1, v2: the server named in `event_id` must have signed too. */
  readonly eventIdServerSigns: boolean
  /** v5+: a key counts only if its `valid_until_ts` is not before `origin_server_ts`. */
  readonly enforcesKeyValidity: boolean

  // The create event and the creators

  /** v1–v10: `content.creator` of `m.room.create` is required, and it is the creator. From v11 on `sender` is. */
  readonly creatorInCreateContent: boolean
  /** v12+: creators are `sender` and `content.additional_creators`, a list of user ids. */
  readonly additionalCreators: boolean
  /** v12+: creators are above every power level and may not stand in `users` of `m.room.power_levels`. */
  readonly privilegedCreators: boolean
  /** v1–v11: `m.room.create` is selected as an auth event and required there. From v12 on it must not be. */
  readonly createInAuthEvents: boolean

  // Authorisation

  /** v1–v5: `m.room.aliases` has a rule of its own: `state_key` is the sender's server, and then it is allowed. */
  readonly aliasesRule: boolean
  /** v1, v2: who may redact is an authorisation rule. From v3 on it is asked when the redaction is to be applied. */
  readonly redactionRule: boolean
  /** v6+: changes of `notifications` in `m.room.power_levels` are checked as those of `events`. */
  readonly notificationLevelsChecked: boolean
  /** v7+: membership `knock` and join rule `knock`. */
  readonly knocking: boolean
  /** v8+: join rule `restricted`, and `join_authorised_via_users_server` must be signed by that user's server. */
  readonly restrictedJoins: boolean
  /** v10+: join rule `knock_restricted`. */
  readonly knockRestrictedJoins: boolean
  /** v10+: every power level is an integer, or the event is rejected. Before, strings that hold an integer count too. */
  readonly integerPowerLevels: boolean
  /** v1–v5: power levels may be floats, cut at the point. */
  readonly floatPowerLevels: boolean

  // State resolution

  readonly stateResolution: 'v1' | 'v2' | 'v2.1'

  // Redaction: what is kept beside what every version keeps

  /** v1–v10: top-level `origin`, `membership` and `prev_state`. */
  readonly keepsOriginMembershipPrevState: boolean
  /** v1–v5: `aliases` of `m.room.aliases`. */
  readonly keepsAliases: boolean
  /** v8+: `allow` of `m.room.join_rules`. */
  readonly keepsAllow: boolean
  /** v9+: `join_authorised_via_users_server` of `m.room.member`. */
  readonly keepsJoinAuthorisedViaUsersServer: boolean
  /** v11+: the whole content of `m.room.create`. Before, only `creator`. */
  readonly keepsCreateContent: boolean
  /** v11+: `invite` of `m.room.power_levels`. */
  readonly keepsInviteLevel: boolean
  /** v11+: `redacts` in the content of `m.room.redaction`. */
  readonly keepsRedacts: boolean
  /** v11+: `third_party_invite.signed` of `m.room.member`. */
  readonly keepsThirdPartyInviteSigned: boolean
}

const v1: RoomVersionRules = {
  version: '1',
  eventIdFormat: 'in-pdu',
  eventReferenceFormat: 'id-and-hash',
  roomIdIsCreateHash: false,
  strictCanonicalJson: false,
  limitsInBytes: false,
  redactsInContent: false,
  eventIdServerSigns: true,
  enforcesKeyValidity: false,
  creatorInCreateContent: true,
  additionalCreators: false,
  privilegedCreators: false,
  createInAuthEvents: true,
  aliasesRule: true,
  redactionRule: true,
  notificationLevelsChecked: false,
  knocking: false,
  restrictedJoins: false,
  knockRestrictedJoins: false,
  integerPowerLevels: false,
  floatPowerLevels: true,
  stateResolution: 'v1',
  keepsOriginMembershipPrevState: true,
  keepsAliases: true,
  keepsAllow: false,
  keepsJoinAuthorisedViaUsersServer: false,
  keepsCreateContent: false,
  keepsInviteLevel: false,
  keepsRedacts: false,
  keepsThirdPartyInviteSigned: false,
}

const v2: RoomVersionRules = { ...v1, version: '2', stateResolution: 'v2' }

const v3: RoomVersionRules = {
  ...v2,
  version: '3',
  eventIdFormat: 'hash-base64',
  eventReferenceFormat: 'id',
  eventIdServerSigns: false,
  redactionRule: false,
}

const v4: RoomVersionRules = { ...v3, version: '4', eventIdFormat: 'hash-base64url' }

const v5: RoomVersionRules = { ...v4, version: '5', enforcesKeyValidity: true }

const v6: RoomVersionRules = {
  ...v5,
  version: '6',
  strictCanonicalJson: true,
  aliasesRule: false,
  notificationLevelsChecked: true,
  floatPowerLevels: false,
  keepsAliases: false,
}

const v7: RoomVersionRules = { ...v6, version: '7', knocking: true }

const v8: RoomVersionRules = { ...v7, version: '8', restrictedJoins: true, keepsAllow: true }

const v9: RoomVersionRules = { ...v8, version: '9', keepsJoinAuthorisedViaUsersServer: true }

const v10: RoomVersionRules = { ...v9, version: '10', knockRestrictedJoins: true, integerPowerLevels: true }

const v11: RoomVersionRules = {
  ...v10,
  version: '11',
  limitsInBytes: true,
  redactsInContent: true,
  creatorInCreateContent: false,
  keepsOriginMembershipPrevState: false,
  keepsCreateContent: true,
  keepsInviteLevel: true,
  keepsRedacts: true,
  keepsThirdPartyInviteSigned: true,
}

const v12: RoomVersionRules = {
  ...v11,
  version: '12',
  roomIdIsCreateHash: true,
  additionalCreators: true,
  privilegedCreators: true,
  createInAuthEvents: false,
  stateResolution: 'v2.1',
}

const table: ReadonlyMap<string, RoomVersionRules> = new Map(
  [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12].map((rules) => [rules.version, rules]),
)

/** The room versions this server knows. All are stable in the specification. */
export const roomVersionNames: readonly string[] = [...table.keys()]

/** What a room is created with when nobody asks for another. */
export const defaultRoomVersion = '12'

/** The rules of a room version, or undefined when it is not known here. */
export const rulesOf = (version: string): RoomVersionRules | undefined => table.get(version)
