/**
 * Membership by handshake, in rooms that this server is not in: a resident server makes a template of the event (make_join
 * and its kin), we make the event, it takes it in (send_join and its kin).
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 *
 * A template is never signed: the event is built here, and only `auth_events`, `prev_events`, `depth` and, when it is a
 * user of the resident server, `content.join_authorised_via_users_server` are taken from it. Whatever else a peer writes
 * into it would be words put into our user's mouth.
 */
import { CanonicalJsonError } from '../../protocol/canonical-json.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { isObject, own, ownString, type JsonObject } from '../../protocol/json.js'
import { roomVersionNames, rulesOf, type RoomVersionRules } from '../../protocol/room-versions.js'
import { finishEvent } from '../../protocol/signing.js'
import { JsonError, parseExactJson } from '../../protocol/strict-json.js'
import { withOwnId, type OwnServer } from '../../room/build-event.js'
import { isDropped, parsePdu, readPdu, type Pdu } from '../../room/inbound/read-pdu.js'
import type { Handshake } from '../../room/membership-templates.js'
import { queryString } from '../asking.js'
import { Unreachable, type Remote } from '../remote.js'

/** Somebody waits for it. In ms. */
const MAKE_TIMEOUT = 20_000

/** Our event as a resident server can take it. */
export interface Made {
  readonly rules: RoomVersionRules
  readonly pdu: Pdu
  /** The event as JSON, to be sent. */
  readonly content: JsonObject
}

export interface Wanted {
  readonly membership: Handshake
  readonly roomId: string
  /** Of the room, where it is known here. */
  readonly version: string | undefined
  readonly userId: string
  /** Beside the membership. */
  readonly content: JsonObject
  /** In ms. */
  readonly now: number
}

/** @throws RemoteError, Unreachable: also for a template of which no event can be made. */
export async function makeEvent(
  remote: Remote,
  server: OwnServer,
  resident: string,
  wanted: Wanted,
  signal?: AbortSignal,
): Promise<Made> {
  const template = await templateFrom(remote, resident, wanted, signal)
  const version = ownString(template, 'room_version') ?? '1'
  const rules = rulesOf(version)
  if (rules === undefined) throw new Unreachable(resident, `the room's version ${version} is not known here`)
  if (version !== (wanted.version ?? version)) throw new Unreachable(resident, `the room is not of version ${version}`)
  const event = own(template, 'event')
  if (!isObject(event) || !isOf(wanted, event)) throw new Unreachable(resident, 'its template is of another event')
  const { pdu: content, text } = finished(rules, server, resident, pduOf(rules, server, resident, wanted, event))
  // Who lets the user in has not signed yet.
  const parsed = parsePdu(text)
  const pdu = isDropped(parsed) ? parsed : readPdu(rules, wanted.roomId, parsed.value)
  if (isDropped(pdu)) throw new Unreachable(resident, `no valid event can be made of its template: ${pdu.why}`)
  return { rules, pdu, content }
}

/** @throws Unreachable where what the template says has no canonical form. */
function finished(rules: RoomVersionRules, { name, signatures }: OwnServer, resident: string, pdu: JsonObject) {
  try {
    return finishEvent(rules, pdu, name, signatures.key)
  } catch (cause) {
    if (!(cause instanceof CanonicalJsonError)) throw cause
    throw new Unreachable(resident, `no event can be made of its template: ${cause.message}`, { cause })
  }
}

async function templateFrom(
  remote: Remote,
  resident: string,
  { membership, roomId, userId }: Wanted,
  signal: AbortSignal | undefined,
): Promise<JsonObject> {
  const versions = membership === 'leave' ? '' : `?${roomVersionNames.map((ver) => queryString({ ver })).join('&')}`
  const path = `/_matrix/federation/v1/make_${membership}/${encodeURIComponent(roomId)}/${encodeURIComponent(userId)}${versions}`
  const text = await remote.request(
    resident,
    { method: 'GET', path, timeout: MAKE_TIMEOUT, maxBytes: 256 * 1024 },
    signal,
  )
  return objectIn(resident, text)
}

/** Numbers as they were written. @throws Unreachable */
export function objectIn(server: string, text: string): JsonObject {
  try {
    const value = parseExactJson(text)
    if (isObject(value)) return value
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
  }
  throw new Unreachable(server, 'its answer is not a JSON object')
}

function isOf({ membership, roomId, userId }: Wanted, event: JsonObject): boolean {
  const content = own(event, 'content')
  return (
    ownString(event, 'room_id') === roomId &&
    ownString(event, 'sender') === userId &&
    ownString(event, 'state_key') === userId &&
    ownString(event, 'type') === 'm.room.member' &&
    isObject(content) &&
    ownString(content, 'membership') === membership
  )
}

function pduOf(
  rules: RoomVersionRules,
  server: OwnServer,
  resident: string,
  { membership, roomId, userId, content, now }: Wanted,
  template: JsonObject,
): JsonObject {
  const authoriser = authoriserIn(template, resident)
  return withOwnId(rules, server, {
    type: 'm.room.member',
    room_id: roomId,
    sender: userId,
    state_key: userId,
    content: {
      ...content,
      ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
      membership,
    },
    origin_server_ts: now,
    depth: own(template, 'depth') ?? 1,
    prev_events: own(template, 'prev_events') ?? [],
    auth_events: own(template, 'auth_events') ?? [],
  })
}

/** Another server's user cannot be vouched for by this one. */
function authoriserIn(template: JsonObject, resident: string): string | undefined {
  const content = own(template, 'content')
  const authoriser = isObject(content) ? ownString(content, 'join_authorised_via_users_server') : undefined
  return authoriser !== undefined && serverNameOf(authoriser) === resident ? authoriser : undefined
}
