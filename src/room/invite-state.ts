/**
 * `invite_room_state` and `knock_room_state`: what another server says of a room that we are not in, to be shown to the
 * user it is about. It is a claim of that server and of nobody else, unless it is made of whole, signed events; and it may
 * be anything at all: what a client could not read is left out (CVE-2024-52815).
 *
 * The specification wants whole events since v1.16, and a refusal of anything else in room versions from 12 on. Most
 * servers still send stripped ones beside a whole `m.room.create`, and an invite that is refused for it does not arrive at
 * all. So stripped events are taken in every version; what claims to be a whole event, where it must be one, has to be
 * right; and where the room id follows from `m.room.create`, that event has to be there, and to be the room's.
 */
import { contentHashMatches } from '../protocol/hashes.js'
import { fitsId, isUserId, serverNameOf } from '../protocol/identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { invalidParam, tooLarge } from '../protocol/matrix-error.js'
import { redactedEvent } from '../protocol/pdu.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { strippedText } from '../protocol/stripped-event.js'
import type { MembershipRow } from '../store/memberships.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { keysOfBatch, type KeysOf } from './inbound/keys-of-batch.js'
import { NotNow } from './inbound/not-now.js'
import { isDropped, readPdu, type Pdu } from './inbound/read-pdu.js'
import { lacksSignature, wrongSignature } from './inbound/signatures.js'

/** Honest servers send some ten. */
const MOST_EVENTS = 50
/** Of all of it as it is stored; it is sent with every initial sync of the user. */
const MOST_BYTES = 262_144

type Stripped = Pick<RoomEvent, 'type' | 'stateKey' | 'sender' | 'content'>

/**
 * The stripped state that an invited user gets, a JSON array, with the invite itself at its end.
 * @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE
 */
export async function inviteState(
  deps: Pick<InboundDeps, 'asking'>,
  rules: RoomVersionRules,
  invite: RoomEvent,
  given: Json | undefined,
): Promise<string> {
  const entries = entriesIn(given)
  if (entries.length > MOST_EVENTS) throw tooLarge(`invite_room_state has more than ${MOST_EVENTS} events`)
  const shown = rules.roomIdIsCreateHash
    ? await checkedState(deps, rules, invite.roomId, entries)
    : entries.flatMap((entry) => strippedOf(entry) ?? [])
  const text = textOf(shown, invite)
  if (Buffer.byteLength(text) > MOST_BYTES) throw tooLarge(`invite_room_state is larger than ${MOST_BYTES} bytes`)
  return text
}

/** The same of a knock of ours, which the room has taken by now: what is too much is left out, with all the rest. */
export function knockState(knock: RoomEvent, told: Json | undefined): string {
  const shown = entriesIn(told)
    .slice(0, MOST_EVENTS)
    .flatMap((entry) => strippedOf(entry) ?? [])
  const text = textOf(shown, knock)
  return Buffer.byteLength(text) > MOST_BYTES ? textOf([], knock) : text
}

/** The servers of whoever invited, and of whoever made what is told of the room: some of those that are in it. */
export function serversTold({
  sender,
  strippedState = '[]',
}: Pick<MembershipRow, 'sender' | 'strippedState'>): string[] {
  const told = JSON.parse(strippedState) as readonly { readonly sender: string }[]
  const servers = [sender, ...told.map((event) => event.sender)].map(serverNameOf)
  return [...new Set(servers)].filter((server) => server !== undefined)
}

const entriesIn = (given: Json | undefined): readonly Json[] => (Array.isArray(given) ? (given as readonly Json[]) : [])

const textOf = (events: readonly Stripped[], member: RoomEvent): string =>
  `[${[...eachOnce(events, member), member].map((event) => strippedText(event as RoomEvent)).join(',')}]`

/** Of two with one type and state key a client would believe either. */
function eachOnce(events: readonly Stripped[], member: Stripped): Stripped[] {
  const keyOf = ({ type, stateKey }: Stripped) => JSON.stringify([type, stateKey])
  const seen = new Set([keyOf(member)])
  return events.filter((event) => seen.size < seen.add(keyOf(event)).size)
}

/** Whatever else it is: what clients look at has the types they count on. */
function strippedOf(entry: Json): Stripped | undefined {
  if (!isObject(entry)) return undefined
  const type = ownString(entry, 'type')
  const stateKey = ownString(entry, 'state_key')
  const sender = ownString(entry, 'sender')
  const content = own(entry, 'content')
  if (type === undefined || stateKey === undefined || sender === undefined || !isObject(content)) return undefined
  return fitsId(type) && fitsId(stateKey) && isUserId(sender) ? { type, stateKey, sender, content } : undefined
}

/** The whole ones before the others, so that they are believed. */
async function checkedState(
  { asking }: Pick<InboundDeps, 'asking'>,
  rules: RoomVersionRules,
  roomId: string,
  entries: readonly Json[],
): Promise<Stripped[]> {
  const pdus = entries.flatMap((entry) => (isWhole(entry) ? [wholeOf(rules, roomId, entry)] : []))
  if (!pdus.some(({ event }) => isCreate(event))) {
    throw invalidParam('invite_room_state: there is no whole m.room.create event')
  }
  const keys = keysOfBatch(asking, rules, pdus)
  const checked = await Promise.all(pdus.map((pdu) => checkedPdu(rules, pdu, keys)))
  const stripped = entries.filter((entry) => !isWhole(entry)).flatMap((entry) => strippedOf(entry) ?? [])
  return [...checked.flatMap((event) => event ?? []), ...stripped]
}

const isCreate = ({ type, stateKey }: Stripped): boolean => type === 'm.room.create' && stateKey === ''

const isWhole = (entry: Json): entry is JsonObject =>
  isObject(entry) && (own(entry, 'signatures') !== undefined || own(entry, 'hashes') !== undefined)

/** @throws MatrixError M_INVALID_PARAM */
function wholeOf(rules: RoomVersionRules, roomId: string, entry: JsonObject): Pdu {
  const pdu = readPdu(rules, roomId, entry)
  const wrong = isDropped(pdu) ? pdu.why : lacksSignature(rules, pdu.event)
  if (isDropped(pdu) || wrong !== undefined) throw invalidParam(`invite_room_state: ${wrong}`)
  return pdu
}

/** undefined: nobody has the keys. The create event is the room's without them, too. @throws MatrixError M_INVALID_PARAM */
async function checkedPdu(rules: RoomVersionRules, pdu: Pdu, keys: KeysOf): Promise<Stripped | undefined> {
  const wrong = await wrongSignature(rules, pdu, keys).catch((cause: unknown) => {
    if (cause instanceof NotNow) return 'unknown' as const
    throw cause
  })
  const event = contentHashMatches(rules, pdu.event.pdu) ? pdu.event : redactedEvent(rules, pdu.event).event
  if (wrong === 'unknown') return isCreate(event) ? event : undefined
  if (wrong !== undefined) throw invalidParam(`invite_room_state: ${wrong}`)
  return event.stateKey === undefined ? undefined : event
}
