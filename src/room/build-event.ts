/**
 * Making an event of ours on top of a room's pending head: choose prev and auth events, authorise, hash, sign, work out
 * the state after it and all that follows from it. Synchronous over what is in memory (src/store/missing.ts), and
 * changes nothing but the packer: the caller moves the head.
 */
import { authEventKeys, authorize, powerLevels } from '../protocol/authorization/index.js'
import { CanonicalJsonError } from '../protocol/canonical-json.js'
import { encodeBase64 } from '../protocol/base64.js'
import { referenceHash } from '../protocol/hashes.js'
import { fitsId } from '../protocol/identifiers.js'
import { own, ownString, type JsonObject } from '../protocol/json.js'
import { badJson, forbidden, notFound, tooLarge } from '../protocol/matrix-error.js'
import type { DeviceNumber, EventNumber, RoomNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import { checkSize, MAX_DEPTH, MAX_PREV_EVENTS, referencesOf, roomEventOf } from '../protocol/pdu.js'
import { targetOf } from '../protocol/redaction.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { asLargeAsSigned, hashEvent, signedBy, type HashedEvent } from '../protocol/signing.js'
import { change, emptyState, type SegmentPacker } from '../protocol/state-trie.js'
import type { Head, NewEvent, RoomSummary } from '../store/log-writer.js'
import type { StateView } from '../store/state-view.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import { attentionTo, changesBetween, effectsOf, redactionOf, withoutRedacted, type LookUp } from './consequences.js'
import type { Draft } from './draft.js'
import type { OwnSignatures } from './own-signatures.js'
import { requireChange } from './state-in-place.js'

/** A head with what building on it needs at hand. */
export interface BuildingHead {
  readonly head: Head
  readonly summary: RoomSummary
  /** The events of `head.forwardExtremities`, in the same order. */
  readonly extremities: readonly StoredEvent[]
  /** `m.room.create`; undefined before it is made. */
  readonly create: StoredEvent | undefined
}

type Making<T> = { -readonly [K in keyof T]: T[K] }

export interface OwnServer {
  readonly name: string
  readonly signatures: OwnSignatures
  /** What stands before the server's name in the id of an event of ours, in room versions 1 and 2; unique. */
  opaqueId(pdu: JsonObject): string
}

export interface BuildContext {
  readonly stores: Stores
  readonly room: RoomNumber
  /** undefined only while the create event of a room whose id is its hash is being made. */
  readonly roomId: string | undefined
  readonly rules: RoomVersionRules
  readonly server: OwnServer
  readonly view: StateView
  readonly packer: SegmentPacker
  readonly now: number
  /** How many times what limits allow at first the work may cost. */
  readonly effort: number
  /** The event a redaction names, when it is known. */
  event(eventId: string): StoredEvent | undefined
  internedKey(type: string, key: string): StateKeyNumber
  /** A number for an event, the same when the build has to be tried again: states and their resolutions hold it. */
  takeNumber(): EventNumber
  /** Lets the view answer for an event that is being made. */
  introduce(stored: StoredEvent): void
  /** The resolution of states. */
  resolve(states: readonly StateReference[]): StateReference
}

export interface Built {
  readonly event: NewEvent
  readonly after: BuildingHead
}

export interface BuiltOwn extends Built {
  /** When the signature is in the event, as it must be before the event is written. */
  readonly signed: Promise<void>
}

/**
 * `isAlone`: nothing else is made with it, and it may be found to change nothing.
 * @throws MatrixError when the rules, or the limits on events, refuse it; StateInPlace.
 */
export function buildEvent(context: BuildContext, before: BuildingHead, draft: Draft, isAlone: boolean): BuiltOwn {
  checkLimits(draft)
  const { rules, view } = context
  const { state, prevEvents, others } = standOn(context, before)
  const lookUp = remembering((type, key) => view.stateEvent(state, type, key))
  const { type, sender, stateKey: key, content } = draft
  const authEvents = authEventKeys(rules, { type, sender, stateKey: key, content })
    .map(([type, key]) => knownMember(before, type, lookUp(type, key)))
    .filter((event) => event !== undefined)
  const replaced = draft.stateKey === undefined ? undefined : lookUp(draft.type, draft.stateKey)
  const redacts = redactsOf(rules, draft)
  const redacted = redacts === undefined ? undefined : redactionTarget(context, before, draft, context.event(redacts))

  const isRedactedCurrent =
    redacted?.event.stateKey !== undefined &&
    lookUp(redacted.event.type, redacted.event.stateKey)?.number === redacted.number

  const pdu = pduOf(context, prevEvents, draft, authEvents)
  const roomId = context.roomId ?? ''
  const event: Making<RoomEvent> = {
    // Versions 1 and 2 ask whether a redaction is of the server of its target. Later ids are hashes, known in the end.
    eventId: ownString(pdu, 'event_id') ?? '',
    roomId,
    type: draft.type,
    sender: draft.sender,
    stateKey: draft.stateKey,
    content: draft.content,
    originServerTs: own(pdu, 'origin_server_ts') as number,
    depth: own(pdu, 'depth') as number,
    prevEvents: referencesOf(rules, pdu, 'prev_events'),
    authEvents: referencesOf(rules, pdu, 'auth_events'),
    redacts,
    pdu,
  }
  const verdict = authorize(rules, event, (type, key) => lookUp(type, key)?.event, before.create?.event)
  if (!verdict.allowed) throw forbidden(`You may not send this event: ${verdict.reason}`)
  if (others.length > 0) requireAllowedNow(context, before, event)
  // Who may not set it any more is told so first.
  if (isAlone) requireChange(replaced, draft)
  // All that may be missing is looked at before the signature is made: what follows is done once.
  const number = context.takeNumber()
  const attention = attentionTo(context, before, draft, lookUp)
  const stateKey = draft.stateKey === undefined ? undefined : context.internedKey(draft.type, draft.stateKey)
  const stateAfter = stateKey === undefined ? state : view.run(change(context.packer, state, [[stateKey, number]]))

  const hashed = hashedOf(context, pdu)
  event.eventId = hashed.eventId
  if (context.roomId === undefined) event.roomId = roomEventOf(rules, hashed.pdu, hashed.eventId).roomId
  const stored: StoredEvent = {
    number,
    room: context.room,
    event,
    text: notSigned,
    stateKey,
    position: undefined,
    anchor: undefined,
    minor: 0,
    prevEvents: others.length === 0 ? before.head.forwardExtremities : prevEvents.map((event) => event.number),
    authEvents: authEvents.map((authEvent) => authEvent.number),
    authDepth: authEvents.reduce((depth, authEvent) => Math.max(depth, authEvent.authDepth), 0) + 1,
    stateBefore: state,
    stateAfter,
    replaces: replaced?.number,
    fate: 'accepted',
    reason: undefined,
    redactedBy: undefined,
    notifyCount: before.head.notifyCount + Number(attention.notifies),
    highlightCount: before.head.highlightCount + Number(attention.highlightsAll),
    clientText: undefined,
    sentAs: sentAsOf(draft),
  }
  context.introduce(stored)
  const redaction = redacted && redactionOf(rules, redacted)
  const current =
    others.length === 0 ? stateAfter : context.resolve([...others.map((event) => event.stateAfter!), stateAfter])
  const changes =
    others.length > 0
      ? changesBetween(context, before.head.state, current, stored)
      : stateAfter === state
        ? []
        : [{ before: replaced, after: stored }]
  const { memberships, summary } = effectsOf(
    changes,
    withoutRedacted(before.summary, redaction, isRedactedCurrent),
    lookUp,
  )
  return {
    event: {
      stored,
      order: 'live',
      stateChange: current === before.head.state ? undefined : { before: before.head.state, after: current },
      memberships,
      highlights: attention.highlights,
      transaction: draft.transaction,
      replacement: draft.replacement,
      redaction,
    },
    after: {
      head: {
        version: before.head.version + 1,
        forwardExtremities: [...others.map((event) => event.number), number],
        state: current,
        notifyCount: stored.notifyCount,
        highlightCount: stored.highlightCount,
        lastActivityTs: Math.max(before.head.lastActivityTs, event.originServerTs),
        partialJoin: before.head.partialJoin,
      },
      summary,
      extremities: [...others, stored],
      create: before.create ?? stored,
    },
    signed: sign(context, hashed, stored),
  }
}

async function sign({ server }: BuildContext, hashed: HashedEvent, stored: StoredEvent): Promise<void> {
  const { name, signatures } = server
  stored.text = signedBy(hashed, name, signatures.key.keyId, await signatures.sign(hashed.essential)).text
}

/** An event of ours that is about a member has to be made of what they are, which is not known while members are to come. */
export class MembersUnknown extends Error {
  override readonly name = 'MembersUnknown'
}

/** The event of a state at a key of this type. @throws MembersUnknown */
export function knownMember(
  { head }: BuildingHead,
  type: string,
  event: StoredEvent | undefined,
): StoredEvent | undefined {
  if (event === undefined && type === 'm.room.member' && head.partialJoin !== undefined)
    throw new MembersUnknown('the members of the room are still to come')
  return event
}

/**
 * The prev events of our next event: all forward extremities, as far as an event may name them, and then the deepest. The
 * others wait for the next event.
 */
function standOn(
  context: BuildContext,
  { head, extremities }: BuildingHead,
): { state: StateReference; prevEvents: readonly StoredEvent[]; others: readonly StoredEvent[] } {
  if (extremities.length <= MAX_PREV_EVENTS) return { state: head.state, prevEvents: extremities, others: [] }
  const deepest = deepestFirst(extremities)
  const prevEvents = deepest.slice(0, MAX_PREV_EVENTS)
  const state = context.resolve(prevEvents.map((event) => event.stateAfter!))
  return { state, prevEvents, others: deepest.slice(MAX_PREV_EVENTS) }
}

export const deepestFirst = (events: readonly StoredEvent[]): StoredEvent[] =>
  events.toSorted((a, b) => b.event.depth - a.event.depth)

/** An event that stands on a part of the room only, and that the rest forbids, would be soft-failed by everybody. */
function requireAllowedNow({ rules, view }: BuildContext, { head, create }: BuildingHead, event: RoomEvent): void {
  const verdict = authorize(rules, event, (type, key) => view.stateEvent(head.state, type, key)?.event, create?.event)
  if (!verdict.allowed) throw forbidden(`You may not send this event: ${verdict.reason}`)
}

export const sentAsOf = ({ transaction }: Pick<NewEvent, 'transaction'>): StoredEvent['sentAs'] =>
  transaction === undefined
    ? null
    : { device: transaction.device as DeviceNumber, transactionId: transaction.transactionId }

/** A build asks three times for the same five events: they are few enough to be found by looking along them. */
export function remembering(lookUp: LookUp): LookUp {
  const types: string[] = []
  const keys: string[] = []
  const found: (StoredEvent | undefined)[] = []
  return (type, key) => {
    for (let i = 0; i < types.length; i++) if (types[i] === type && keys[i] === key) return found[i]
    const event = lookUp(type, key)
    types.push(type)
    keys.push(key)
    found.push(event)
    return event
  }
}

/** The size of the whole is checked when it is known. */
export function checkLimits({ type, stateKey, sender }: Draft): void {
  if (!fitsId(type)) throw tooLarge('type is larger than 255 bytes')
  if (stateKey !== undefined && !fitsId(stateKey)) throw tooLarge('state_key is larger than 255 bytes')
  if (!fitsId(sender)) throw tooLarge('sender is larger than 255 bytes')
}

/** Neither hashed nor signed. */
export function pduOf(
  context: Pick<BuildContext, 'rules' | 'roomId' | 'server' | 'now'>,
  prevEvents: readonly StoredEvent[],
  draft: Draft,
  authEvents: readonly StoredEvent[],
): Making<JsonObject> {
  const { rules, roomId, server } = context
  const deepest = prevEvents.reduce((depth, event) => Math.max(depth, event.event.depth), 0)
  const redactsBeside = draft.redacts !== undefined && !rules.redactsInContent
  // In canonical order, and key by key: this is done for every send.
  const pdu: Making<JsonObject> = {
    auth_events: references(rules, authEvents),
    content: draft.content,
    depth: Math.min(deepest + 1, MAX_DEPTH),
    origin_server_ts: draft.originServerTs ?? context.now,
    prev_events: references(rules, prevEvents),
  }
  if (redactsBeside) pdu['redacts'] = draft.redacts
  if (roomId !== undefined) pdu['room_id'] = roomId
  pdu['sender'] = draft.sender
  if (draft.stateKey !== undefined) pdu['state_key'] = draft.stateKey
  pdu['type'] = draft.type
  return withOwnId(rules, server, pdu)
}

/** Only in versions 1 and 2 an event says its id. */
export const withOwnId = (
  rules: RoomVersionRules,
  server: Pick<OwnServer, 'name' | 'opaqueId'>,
  pdu: JsonObject,
): Making<JsonObject> =>
  rules.eventIdFormat === 'in-pdu' ? { ...pdu, event_id: `$${server.opaqueId(pdu)}:${server.name}` } : pdu

const references = (rules: RoomVersionRules, events: readonly StoredEvent[]) =>
  rules.eventReferenceFormat === 'id'
    ? events.map(({ event }) => event.eventId)
    : events.map(({ event }) => [event.eventId, { sha256: encodeBase64(referenceHash(rules, event.pdu)) }] as const)

/** The text of an event whose signature is being made. */
const notSigned = ''

/** @throws MatrixError 413 when the event is too large once it is signed, 400 when it has no canonical form. */
export function hashedOf(
  { rules, server }: Pick<BuildContext, 'rules' | 'server'>,
  pdu: Making<JsonObject>,
): HashedEvent {
  try {
    const hashed = hashEvent(rules, pdu)
    requireSize(asLargeAsSigned(hashed, server.name, server.signatures.key.keyId))
    return hashed
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) throw badJson(`content: ${cause.message}`)
    throw cause
  }
}

/** `text` is the canonical JSON of the whole event. @throws MatrixError 413 */
export function requireSize(text: string): void {
  const size = checkSize(text)
  if (!size.allowed) throw tooLarge(`The event is ${size.reason}`)
}

/** Where the content says it, others take a state event for a redaction, too. */
export const redactsOf = ({ redactsInContent }: RoomVersionRules, { type, content, redacts }: Draft) =>
  redactsInContent && type === 'm.room.redaction'
    ? (redacts ?? targetOf({ redacts: ownString(content, 'redacts') }))
    : redacts

/**
 * What a redaction by a local user may name: an event of this room that is not `m.room.create`, their own or, with the
 * level for it, anybody's. (That the rules would apply it for any user of the same server is a matter of versions before 3.)
 */
export function redactionTarget(
  { rules, view }: Pick<BuildContext, 'rules' | 'view'>,
  before: BuildingHead,
  draft: Draft,
  target: StoredEvent | undefined,
): StoredEvent {
  if (target === undefined) throw notFound('The event to redact is not in this room')
  if (target.event.type === 'm.room.create') throw forbidden('The event that created the room cannot be redacted')
  if (target.event.sender === draft.sender) return target
  const levels =
    before.create &&
    powerLevels(rules, before.create.event, view.stateEvent(before.head.state, 'm.room.power_levels', '')?.event)
  if (levels === undefined || !(levels.levelOf(draft.sender) >= levels.redact)) {
    throw forbidden('Your power level does not allow you to redact events of others')
  }
  return target
}

export const emptyHead: Head = {
  version: 0,
  forwardExtremities: [],
  state: emptyState,
  notifyCount: 0,
  highlightCount: 0,
  lastActivityTs: 0,
}
