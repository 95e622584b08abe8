/**
 * The second half of a handshake: the event that another server made of our template (membership-templates.ts) comes back
 * signed, and goes into the room as any event we receive does. Unlike in a transaction, whoever sends it hears what becomes
 * of it: nothing but an accepted event is an answer to them.
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import { joinAuthorisedVia } from '../protocol/authorization/index.js'
import { contentHashMatches } from '../protocol/hashes.js'
import { serverNameOf } from '../protocol/identifiers.js'
import { ownString } from '../protocol/json.js'
import { badJson, forbidden, invalidParam, tooLarge, tryAgain, type MatrixError } from '../protocol/matrix-error.js'
import { checkSize } from '../protocol/pdu.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { StoredEvent } from '../store/stored-event.js'
import { EventsUnknown, HeadMoved, type Received } from './arrival.js'
import type { InboundDeps } from './inbound/inbound-deps.js'
import { keysOfBatch } from './inbound/keys-of-batch.js'
import { isTooCostly, NotNow } from './inbound/not-now.js'
import { keysWithOwn, signAsWell } from './inbound/own-signature.js'
import { isDropped, parsePdu, readPdu, type Dropped, type Pdu } from './inbound/read-pdu.js'
import { checkPdu, checkPolicy, receive } from './inbound/receive-pdu.js'
import { lacksSignature } from './inbound/signatures.js'
import type { KnownRoom } from './known-room.js'
import { requireJoinGrant, type Handshake } from './membership-templates.js'

export interface HandshakeEvent {
  /** The server that signed the request. */
  readonly origin: string
  readonly membership: Handshake
  /** As the request calls it. */
  readonly eventId: string
  /** The PDU as it came. */
  readonly text: string
}

/**
 * The event in the room, accepted and committed; the same when it comes again.
 * @throws MatrixError when it is not what it has to be, or the room does not take it.
 */
export async function receiveMembership(
  deps: InboundDeps,
  name: KnownRoom,
  received: HandshakeEvent,
): Promise<StoredEvent> {
  const parsed = parsePdu(received.text)
  if (isDropped(parsed)) throw refusalOf(parsed)
  const pdu = readPdu(name.rules, name.roomId, parsed.value)
  if (isDropped(pdu)) throw refusalOf(pdu)
  requireMembershipOf(pdu.event, received)
  requireContentHash(name, pdu)
  const signed = await checkedSignatures(deps, name, await authorised(deps, name, pdu))
  const { event } = await taken(deps, name, signed)
  if (event.fate !== 'accepted') throw forbidden(`The room does not take the event: ${event.reason}`)
  return event
}

export const refusalOf = ({ dropped, why }: Dropped): MatrixError =>
  dropped === 'format' ? badJson(`The event: ${why}`) : invalidParam(`The event: ${why}`)

/** @throws MatrixError M_INVALID_PARAM */
function requireMembershipOf(event: RoomEvent, { origin, membership, eventId }: HandshakeEvent): void {
  if (event.eventId !== eventId) throw invalidParam(`The event is ${event.eventId}, not that of the path`)
  if (event.type !== 'm.room.member') throw invalidParam('The event is not of type m.room.member')
  if (ownString(event.content, 'membership') !== membership) throw invalidParam(`The event is no ${membership}`)
  if (serverNameOf(event.sender) !== origin) throw invalidParam(`The sender is not a user of ${origin}`)
  if (event.stateKey !== event.sender) throw invalidParam('The state_key is not the sender')
}

/** Of an event that was just made there is nothing to be saved by redacting it. @throws MatrixError M_INVALID_PARAM */
export function requireContentHash({ rules }: Pick<KnownRoom, 'rules'>, { event }: Pdu): void {
  if (!contentHashMatches(rules, event.pdu)) throw invalidParam('The content hash of the event is wrong')
}

/**
 * With our signature, where the join names a user of ours as who lets the sender in: "the signature must be added before
 * sending or persisting the event to other servers". Whether that user has the right to is for the rules to say, whether
 * the sender is in one of the rooms for us.
 */
async function authorised({ rooms, serverName }: InboundDeps, name: KnownRoom, pdu: Pdu): Promise<Pdu> {
  const authoriser = joinAuthorisedVia(name.rules, pdu.event)
  if (typeof authoriser !== 'string' || serverNameOf(authoriser) !== serverName) return pdu
  await requireJoinGrant(rooms, name, pdu.event.sender)
  const signed = await signAsWell(rooms.deps.server, name.rules, pdu)
  if (!checkSize(signed.text).allowed) throw tooLarge('The event is too large with another signature')
  return signed
}

async function checkedSignatures(deps: InboundDeps, { rules }: KnownRoom, pdu: Pdu): Promise<Pdu> {
  const lacking = lacksSignature(rules, pdu.event)
  if (lacking !== undefined) throw invalidParam(`The event: ${lacking}`)
  const keys = keysWithOwn(deps.rooms.deps.server, keysOfBatch(deps.asking, rules, [pdu]))
  const checked = await orTryAgain(checkPdu(deps, rules, pdu, keys))
  if (isDropped(checked)) throw refusalOf(checked)
  return checked
}

async function taken(deps: InboundDeps, name: KnownRoom, pdu: Pdu): Promise<Received> {
  const checked = await orTryAgain(checkPolicy(deps, name, pdu))
  const how = { kind: 'live', isRelayed: true, policy: checked.policy } as const
  return orTryAgain(receive(deps, name, { pdu: checked.pdu, how }))
}

/** What is no verdict on the event. @throws MatrixError */
export async function orTryAgain<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    // A template names nothing but what we have.
    if (cause instanceof EventsUnknown) throw invalidParam(`The event names events that are not here`)
    const isNoVerdict = cause instanceof NotNow || cause instanceof HeadMoved || isTooCostly(cause)
    throw isNoVerdict ? tryAgain('The event cannot be judged at the moment') : cause
  }
}
