/**
 * Making a room: all its first events are one change, so that nothing of it is there when one of them is refused.
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 */
import { randomBytes } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import { encodeBase64Url } from '../protocol/base64.js'
import { creatorsOf } from '../protocol/authorization/index.js'
import { isRoomAlias, isUserId, serverNameOf } from '../protocol/identifiers.js'
import { isObject, own, type JsonObject } from '../protocol/json.js'
import {
  badJson,
  invalidParam,
  invalidRoomState,
  MatrixError,
  roomInUse,
  unsupportedRoomVersion,
} from '../protocol/matrix-error.js'
import type { RoomNumber } from '../protocol/numbers.js'
import { defaultRoomVersion, rulesOf, type RoomVersionRules } from '../protocol/room-versions.js'
import { deleteAlias, insertAlias } from '../store/aliases.js'
import { profiles, type Profile } from '../store/profiles.js'
import { isRoomIdTaken } from '../store/rooms.js'
import type { Tables } from '../store/tables.js'
import { emptyHead } from './build-event.js'
import type { Draft } from './draft.js'
import { requireInvitable } from './invitable.js'
import type { InvitesElsewhere } from './invites-elsewhere.js'
import { memberContent } from './member-content.js'
import { Room } from './room.js'
import type { Rooms } from './rooms.js'
import { emptySummary } from './summary.js'

/** As the client wrote it, of the right types. */
export interface RoomRequest {
  readonly visibility?: 'public' | 'private'
  readonly room_alias_name?: string
  readonly name?: string
  readonly topic?: string
  readonly invite?: readonly string[]
  readonly room_version?: string
  readonly creation_content?: JsonObject
  readonly initial_state?: readonly {
    readonly type: string
    readonly state_key?: string
    readonly content: JsonObject
  }[]
  readonly preset?: Preset
  readonly is_direct?: boolean
  readonly power_level_content_override?: JsonObject
}

export type Preset = 'private_chat' | 'public_chat' | 'trusted_private_chat'

export interface CreateRoomDeps {
  readonly db: Kysely<Tables>
  readonly rooms: Rooms
  readonly memberships: InvitesElsewhere
}

/**
 * Resolves with the room id when all of it is durable.
 * @throws MatrixError with nothing done. Only users of other servers are invited when the room is there: the error of an
 *   invite that their server does not take names the room.
 */
export async function createRoom(
  deps: CreateRoomDeps,
  creator: string,
  request: RoomRequest,
  /** Of the request's body; strict room versions refuse it. */
  nonCanonicalNumber?: string,
): Promise<string> {
  const { db, rooms } = deps
  const rules = rulesOf(request.room_version ?? defaultRoomVersion)
  if (rules === undefined)
    throw unsupportedRoomVersion(`This server does not know room version ${request.room_version}`)
  if (nonCanonicalNumber !== undefined && rules.strictCanonicalJson) {
    throw badJson(`Events of this room version cannot hold the number ${nonCanonicalNumber}`)
  }
  const server = rooms.deps.server.name
  const alias = request.room_alias_name === undefined ? undefined : aliasOf(request.room_alias_name, server)
  const plan = await planOf(db, server, rules, creator, request)
  const drafts = draftsOf(plan, alias)

  const number = await newRoomNumber(db)
  if (alias !== undefined) {
    const inserted = await insertAlias(db, { alias, room: number, creator }, rooms.deps.now())
    if (inserted === 'exists') throw roomInUse(`The alias ${alias} is taken`)
  }
  const inDirectory = request.visibility === 'public'
  let roomId: string
  try {
    roomId = await (rules.roomIdIsCreateHash ? beginUnlikeOthers : begin)(rooms, rules, number, drafts, inDirectory)
  } catch (cause) {
    // What could not be deleted now is taken for abandoned later (src/store/aliases.ts).
    if (alias !== undefined) await deleteAlias(db, alias, number).catch(() => undefined)
    throw asRoomState(cause)
  }
  await inviteElsewhere(deps, roomId, plan)
  return roomId
}

async function inviteElsewhere(
  { rooms, memberships }: CreateRoomDeps,
  roomId: string,
  { creator, request, elsewhere }: Plan,
): Promise<void> {
  if (elsewhere.length === 0) return
  const name = await rooms.named(roomId)
  const more = request.is_direct === true ? { is_direct: true } : {}
  for (const user of elsewhere) await inRoomMade(roomId, () => memberships.invite(name, creator, user, more))
}

/** What is done when the room is there. @throws MatrixError that names the room */
export async function inRoomMade(roomId: string, task: () => Promise<unknown>): Promise<void> {
  try {
    await task()
  } catch (cause) {
    if (!(cause instanceof MatrixError)) throw cause
    throw new MatrixError(cause.status, cause.errcode, `The room ${roomId} is there, but: ${cause.message}`)
  }
}

/** What the rules refuse in a room that is being made is a mistake of the request, not a right that is missing. */
const asRoomState = (cause: unknown): unknown =>
  cause instanceof MatrixError && cause.errcode === 'M_FORBIDDEN' ? invalidRoomState(cause.message) : cause

/** Two rooms that one user makes alike, at one time, would be of one id: each gets a time of its own. */
async function beginUnlikeOthers(...[rooms, rules, number, [create, ...more], inDirectory]: Parameters<typeof begin>) {
  for (;;) {
    const drafts = [{ ...create!, originServerTs: rooms.takeCreationTs() }, ...more]
    try {
      return await begin(rooms, rules, number, drafts, inDirectory)
    } catch (cause) {
      // At that time another process made one.
      if (!isRoomIdTaken(cause)) throw cause
    }
  }
}

async function begin(
  rooms: Rooms,
  rules: RoomVersionRules,
  number: RoomNumber,
  drafts: readonly Draft[],
  inDirectory: boolean,
): Promise<string> {
  const { stores, server } = rooms.deps
  const roomId = rules.roomIdIsCreateHash
    ? undefined
    : `!${encodeBase64Url(randomBytes(18)).slice(0, 18)}:${server.name}`
  const room = new Room(rooms.deps, number, rules, roomId)
  const summary = { ...emptySummary, in_directory: inDirectory }
  room.begin({ head: emptyHead, summary, extremities: [], create: undefined })
  await room.append(drafts, undefined, { version: rules.version })
  rooms.remember(room)
  return stores.names.remember({ room: number, room_id: room.roomId!, version: rules.version }).roomId
}

async function newRoomNumber(db: Kysely<Tables>): Promise<RoomNumber> {
  const { rows } = await sql<{ room: RoomNumber }>`select nextval('room_number')::int as room`.execute(db)
  return rows[0]!.room
}

function aliasOf(localpart: string, server: string): string {
  const alias = `#${localpart}:${server}`
  if (localpart.includes(':') || /\s/.test(localpart) || !isRoomAlias(alias)) {
    throw invalidParam('body.room_alias_name must be the part of a room alias before the colon, without spaces')
  }
  return alias
}

interface Plan {
  readonly rules: RoomVersionRules
  readonly creator: string
  readonly preset: Preset
  readonly request: RoomRequest
  readonly createContent: JsonObject
  readonly levels: JsonObject
  /** Users of this server. */
  readonly invited: readonly string[]
  /** Users of others. */
  readonly elsewhere: readonly string[]
  readonly profiles: ReadonlyMap<string, Profile>
}

async function planOf(
  db: Kysely<Tables>,
  server: string,
  rules: RoomVersionRules,
  creator: string,
  request: RoomRequest,
): Promise<Plan> {
  const everybody = [...new Set(request.invite ?? [])]
  const invited = everybody.filter((user) => serverNameOf(user) === server)
  const elsewhere = everybody.filter((user) => serverNameOf(user) !== server)
  await requireInvitable(db, [...invited, ...invitedByState(request, server)])
  const preset = request.preset ?? (request.visibility === 'public' ? 'public_chat' : 'private_chat')
  const trusted = preset === 'trusted_private_chat' ? everybody : []
  const createContent = createContentOf(rules, creator, request.creation_content ?? {}, trusted)
  const levels = levelsOf(rules, creator, preset, trusted, request)
  requireCreatorsApart(rules, creator, createContent, levels)
  return {
    rules,
    creator,
    preset,
    request,
    createContent,
    levels,
    invited,
    elsewhere,
    profiles: await profiles(db, [creator, ...invited]),
  }
}

/** Whom `initial_state` invites, by member events of its own. */
function invitedByState({ initial_state = [] }: RoomRequest, server: string): string[] {
  const members = initial_state.filter(({ type }) => type === 'm.room.member')
  const stranger = members.find(({ state_key = '' }) => !isUserId(state_key))
  if (stranger !== undefined) throw badJson('body.initial_state: the state key of m.room.member must be a user id')
  if (members.some(({ content }) => own(content, 'join_authorised_via_users_server') !== undefined)) {
    throw badJson('body.initial_state: who lets a user in is for the server to say')
  }
  const invited = members.filter(({ content }) => own(content, 'membership') === 'invite')
  const foreign = invited.find(({ state_key }) => serverNameOf(state_key!) !== server)
  if (foreign !== undefined) {
    throw badJson('body.initial_state: users of other servers are invited by body.invite, since their servers sign it')
  }
  return invited.map(({ state_key }) => state_key!)
}

function createContentOf(
  rules: RoomVersionRules,
  creator: string,
  given: JsonObject,
  trusted: readonly string[],
): JsonObject {
  const { creator: _overwritten, ...rest } = given
  return {
    ...rest,
    ...(rules.creatorInCreateContent ? { creator } : {}),
    ...(rules.additionalCreators ? additionalCreators(own(given, 'additional_creators'), trusted) : {}),
    room_version: rules.version,
  }
}

function additionalCreators(given: JsonObject[string], trusted: readonly string[]): JsonObject {
  const isList =
    given === undefined || (Array.isArray(given) && given.every((id) => typeof id === 'string' && isUserId(id)))
  if (!isList) throw badJson('body.creation_content.additional_creators must be a list of user ids')
  const all = [...new Set([...((given ?? []) as string[]), ...trusted])]
  return given === undefined && all.length === 0 ? {} : { additional_creators: all }
}

/** The defaults with the request's override on top. An `m.room.power_levels` in `initial_state` takes the place of both. */
function levelsOf(
  rules: RoomVersionRules,
  creator: string,
  preset: Preset,
  trusted: readonly string[],
  request: RoomRequest,
): JsonObject {
  const own = request.initial_state?.findLast(isState('m.room.power_levels'))
  if (own !== undefined) return own.content
  // Since version 12 creators are above every level and may not be listed.
  const users = rules.privilegedCreators ? [] : [creator, ...trusted]
  return {
    users: Object.fromEntries(users.map((user) => [user, 100])),
    users_default: 0,
    events: {
      'm.room.name': 50,
      'm.room.avatar': 50,
      'm.room.canonical_alias': 50,
      'm.room.power_levels': 100,
      'm.room.history_visibility': 100,
      'm.room.encryption': 100,
      'm.room.server_acl': 100,
      // From version 12 on only creators should be able to upgrade the room.
      'm.room.tombstone': rules.privilegedCreators ? 150 : 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: preset === 'public_chat' ? 50 : 0,
    ...request.power_level_content_override,
  }
}

function requireCreatorsApart(
  rules: RoomVersionRules,
  creator: string,
  createContent: JsonObject,
  levels: JsonObject,
): void {
  const users = own(levels, 'users')
  if (!rules.privilegedCreators || !isObject(users)) return
  const create = { sender: creator, content: createContent }
  const listed = [...creatorsOf(rules, create)].find((user) => Object.hasOwn(users, user))
  if (listed !== undefined) throw badJson(`${listed} is a creator of the room and cannot be given a power level`)
}

/** In the order of the specification. */
function draftsOf(plan: Plan, alias: string | undefined): Draft[] {
  const { creator, request, invited } = plan
  const state = (type: string, content: JsonObject, stateKey = ''): Draft => ({
    type,
    stateKey,
    sender: creator,
    content,
  })
  const member = (userId: string, membership: 'join' | 'invite', more: JsonObject = {}) =>
    state('m.room.member', memberContent(membership, plan.profiles.get(userId), more), userId)
  return [
    state('m.room.create', plan.createContent),
    member(creator, 'join'),
    state('m.room.power_levels', plan.levels),
    ...(alias === undefined ? [] : [state('m.room.canonical_alias', { alias })]),
    ...presetState(plan).map(([type, content]) => state(type, content)),
    ...initialState(request).map(({ type, state_key, content }) => state(type, content, state_key)),
    ...(request.name === undefined ? [] : [state('m.room.name', { name: request.name })]),
    ...(request.topic === undefined ? [] : [state('m.room.topic', topicContent(request.topic))]),
    ...invited.map((userId) => member(userId, 'invite', request.is_direct === true ? { is_direct: true } : {})),
  ]
}

const topicContent = (topic: string): JsonObject => ({
  topic,
  'm.topic': { 'm.text': [{ body: topic, mimetype: 'text/plain' }] },
})

/** What `initial_state` sets, the preset does not. */
function presetState({ preset, request }: Plan): (readonly [type: string, content: JsonObject])[] {
  const isPublic = preset === 'public_chat'
  const state = [
    ['m.room.join_rules', { join_rule: isPublic ? 'public' : 'invite' }],
    ['m.room.history_visibility', { history_visibility: 'shared' }],
    ['m.room.guest_access', { guest_access: isPublic ? 'forbidden' : 'can_join' }],
  ] as const
  return state.filter(([type]) => !request.initial_state?.some(isState(type)))
}

/** Without what is set in another place: power levels, and what `name` and `topic` overwrite. */
const initialState = ({ initial_state = [], name, topic }: RoomRequest) =>
  initial_state.filter(
    (event) =>
      !isState('m.room.power_levels')(event) &&
      !(name !== undefined && isState('m.room.name')(event)) &&
      !(topic !== undefined && isState('m.room.topic')(event)),
  )

const isState =
  (type: string) =>
  (event: { readonly type: string; readonly state_key?: string }): boolean =>
    event.type === type && (event.state_key ?? '') === ''
