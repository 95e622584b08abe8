/**
 * Judging an event of another server and taking it into the room: checks 4 to 7 on receipt of a PDU, in their order.
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 *
 * | check | failing means |
 * | --- | --- |
 * | 4 the auth rules, on the state its auth events make | rejected |
 * | 5 the auth rules, on the state before it | rejected |
 * | 6 the auth rules, on the current state | soft-failed |
 * | 7 the room's policy server | soft-failed |
 *
 * Like the building of our own events it is synchronous over what is at hand, and changes nothing but the packer. The
 * "current state" is that of the pending head: what stands before this event in the lane is decided, and if it is not
 * committed in the end, this event is judged anew.
 */
import {
  authEventKeys,
  authorize,
  checkAuthEvents,
  powerLevels,
  redactionApplies,
} from '../protocol/authorization/index.js'
import type { EventNumber, StateReference } from '../protocol/numbers.js'
import { targetOf } from '../protocol/redaction.js'
import type { RoomEvent } from '../protocol/room-event.js'
import { change, emptyState } from '../protocol/state-trie.js'
import { allow, reject, type Verdict } from '../protocol/verdict.js'
import type { NewEvent } from '../store/log-writer.js'
import type { Fate, StoredEvent } from '../store/stored-event.js'
import { EventsUnknown, HeadMoved, type Arrival } from './arrival.js'
import { remembering, sentAsOf, type BuildContext, type BuildingHead, type Built } from './build-event.js'
import {
  attentionTo,
  changesBetween,
  effectsOf,
  redactionOf,
  withoutRedacted,
  type Attention,
  type LookUp,
} from './consequences.js'
import { behind, mayStandOnItself, stateAfterPrev, stateOf, withPlace, type WalkBehind } from './graph.js'

export interface AdmitContext extends BuildContext {
  /** An event of the room that is held, committed or pending; undefined: we do not have it. */
  held(eventId: string): StoredEvent | undefined
  /** Accepted redactions that came before the event they name. */
  redactionsOf(eventId: string): readonly StoredEvent[]
  /** Whether an accepted event that we have names this one as a prev event. */
  isMissed(eventId: string): boolean
  /** Walks back from events of the change that is being built, as far as they have come. */
  readonly walks: Map<EventNumber, WalkBehind>
  /** Our join, while what came after it is judged again (judge-anew.ts). */
  readonly entrance?: StoredEvent
}

interface Judged {
  readonly fate: Fate
  readonly reason: string | undefined
}

const accepted: Judged = { fate: 'accepted', reason: undefined }
const judgedBy = (fate: Fate, verdict: Verdict): Judged =>
  verdict.allowed ? accepted : { fate, reason: verdict.reason }

/** The event may be held, as an outlier: then it is promoted. @throws EventsUnknown, HeadMoved */
export function admitEvent(context: AdmitContext, before: BuildingHead, arrival: Arrival): Built {
  if (arrival.onHead !== undefined && arrival.onHead !== before.head.version) {
    throw new HeadMoved(`room ${context.room} moved while this server came into it`)
  }
  if (arrival.kind === 'history' && before.head.partialJoin !== undefined) {
    throw new HeadMoved(`the members of room ${context.room} are still to come`)
  }
  const { stored, attention } = judgeEvent(context, before, arrival)
  return isNews(arrival)
    ? moved(context, before, arrival, stored, attention)
    : unmoved(context, before, arrival, stored)
}

const isNews = ({ kind }: Arrival): boolean => kind === 'live' || kind === 'entrance'

export interface JudgedEvent {
  /** Without a place, but for history. */
  readonly stored: StoredEvent
  readonly attention: Attention | undefined
}

/** The event with its fate and the states at it. @throws EventsUnknown */
export function judgeEvent(context: AdmitContext, before: BuildingHead, arrival: Arrival): JudgedEvent {
  const { event } = arrival
  const outlier = context.held(event.eventId)
  const authEvents = authEventsOf(context, arrival)
  // 4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
  const byAuthEvents =
    outlier?.fate === 'rejected'
      ? { fate: outlier.fate, reason: outlier.reason }
      : judgedBy('rejected', checkOnAuthEvents(context, before, arrival, authEvents))
  const number = outlier?.number ?? context.takeNumber()
  const stateKey = event.stateKey === undefined ? undefined : context.internedKey(event.type, event.stateKey)
  const unplaced: StoredEvent = {
    number,
    room: context.room,
    event: outlier?.event ?? event,
    text: outlier?.text ?? arrival.text,
    stateKey,
    position: undefined,
    anchor: undefined,
    minor: 0,
    // Those without a place are missing like those that are not held.
    prevEvents: event.prevEvents.flatMap((id) => withPlace(context.held(id))?.number ?? []),
    authEvents: authEvents.map((authEvent) => authEvent.number),
    authDepth: authEvents.reduce((depth, authEvent) => Math.max(depth, authEvent.authDepth), 0) + 1,
    stateBefore: undefined,
    stateAfter: undefined,
    replaces: undefined,
    ...byAuthEvents,
    redactedBy: outlier?.redactedBy,
    notifyCount: before.head.notifyCount,
    highlightCount: before.head.highlightCount,
    clientText: undefined,
    sentAs: sentAsOf(arrival),
  }
  if (arrival.kind === 'outlier') return { stored: unplaced, attention: undefined }
  return place(context, before, arrival, unplaced, authEvents)
}

/** With the state before it. */
function place(
  context: AdmitContext,
  before: BuildingHead,
  arrival: Arrival,
  unplaced: StoredEvent,
  authEvents: readonly StoredEvent[],
): JudgedEvent {
  const { event } = arrival
  const { rules, view } = context
  const told = stateBeforeOf(context, before, arrival)
  if (told !== before.head.state) {
    const keys = authEventKeys(rules, event)
    for (const state of [told, before.head.state]) view.haveStateEvents(state, keys)
  }
  const isPartial = before.head.partialJoin !== undefined || arrival.partial !== undefined
  const learn = (state: StateReference) => (isPartial ? withMembers(context, state, authEvents) : state)
  const known = learn(told)
  const lookUp = remembering((type, key) => view.stateEvent(known, type, key))
  const current = told === before.head.state ? known : learn(before.head.state)
  const { fate, reason } = judge(context, before, arrival, unplaced, { before: known, current }, lookUp)
  const isAccepted = fate === 'accepted'
  const attention = isAccepted && isNews(arrival) ? attentionTo(context, before, event, lookUp) : undefined
  // Of an event that is rejected nothing is learned.
  const stateBefore = fate === 'rejected' ? told : known
  const replaced = event.stateKey === undefined ? undefined : lookUp(event.type, event.stateKey)
  // Soft-failed events are part of the state after them, as on every other server: what stands on them is judged by it.
  const stateAfter =
    fate === 'rejected' || unplaced.stateKey === undefined
      ? stateBefore
      : view.run(change(context.packer, stateBefore, [[unplaced.stateKey, unplaced.number]]))
  const stored: StoredEvent = {
    ...unplaced,
    ...(isAccepted && arrival.kind === 'history' ? arrival.place : {}),
    stateBefore,
    stateAfter,
    replaces: replaced?.number,
    fate,
    reason,
    notifyCount: before.head.notifyCount + Number(attention?.notifies ?? false),
    highlightCount: before.head.highlightCount + Number(attention?.highlightsAll ?? false),
  }
  context.introduce(stored)
  return { stored, attention }
}

/**
 * A state that lacks members, with those that the event's auth events tell of: who sent it, whom it is about. Whether they
 * are what they were there is looked at when the members are here.
 */
function withMembers(
  { view, packer }: AdmitContext,
  state: StateReference,
  authEvents: readonly StoredEvent[],
): StateReference {
  const unknown = authEvents.filter(
    ({ event, fate }) =>
      fate === 'accepted' &&
      event.type === 'm.room.member' &&
      view.eventNumber(state, event.type, event.stateKey!) === undefined,
  )
  if (unknown.length === 0) return state
  const members = unknown.map(({ stateKey, number }) => [stateKey!, number] as const)
  return view.run(change(packer, state, members))
}

function checkOnAuthEvents(
  { rules }: BuildContext,
  { create }: BuildingHead,
  { event, ofOtherRooms = [] }: Arrival,
  authEvents: readonly StoredEvent[],
): Verdict {
  if (ofOtherRooms.length > 0) return reject('auth events: one is of another room')
  if (event.type === 'm.room.create' && create !== undefined && create.event.eventId !== event.eventId) {
    return reject('the room has an m.room.create event already')
  }
  const list = authEvents.map((authEvent) => authEvent.event)
  const rejected = new Set(authEvents.filter(({ fate }) => fate === 'rejected').map((authEvent) => authEvent.event))
  const inOrder = checkAuthEvents(rules, event, list, (authEvent) => rejected.has(authEvent))
  if (!inOrder.allowed) return inOrder
  const state = (type: string, key: string) => list.find((one) => one.type === type && one.stateKey === key)
  return authorize(rules, event, state, rules.createInAuthEvents ? undefined : create?.event)
}

/** Checks 5 to 7. */
function judge(
  { rules, view }: AdmitContext,
  { create }: BuildingHead,
  { event, kind, policy = allow }: Arrival,
  { fate, reason }: StoredEvent,
  states: { readonly before: StateReference; readonly current: StateReference },
  lookUp: LookUp,
): Judged {
  if (fate === 'rejected') return { fate, reason }
  // 5. "Passes authorization rules based on the state before the event, otherwise it is rejected."
  const onStateBefore = authorize(rules, event, (type, key) => lookUp(type, key)?.event, create?.event)
  if (!onStateBefore.allowed) return judgedBy('rejected', onStateBefore)
  if (kind !== 'live' || create === undefined) return accepted
  // 6. "Passes authorization rules based on the current state of the room, otherwise it is “soft failed”."
  const now = remembering((type, key) => view.stateEvent(states.current, type, key))
  const onCurrentState =
    states.before === states.current
      ? allow
      : authorize(rules, event, (type, key) => now(type, key)?.event, create.event)
  if (!onCurrentState.allowed) return judgedBy('soft-failed', onCurrentState)
  // 7. "Is validated by the Policy Server, if the room is using one."
  return judgedBy('soft-failed', policy)
}

/** What an event changes that does not move the head. */
function unmoved(context: AdmitContext, before: BuildingHead, arrival: Arrival, stored: StoredEvent): Built {
  const isOutlier = arrival.kind === 'outlier'
  const { redacted, redaction, waitsFor } = redactionsWith(context, arrival, stored)
  return {
    event: {
      stored: redacted,
      order: redacted.anchor === undefined ? 'unplaced' : 'placed',
      memberships: [],
      highlights: [],
      redaction,
      received: {
        promoted: context.held(arrival.event.eventId) !== undefined,
        missingPrevEvents: isOutlier ? [] : missingOf(context, stored.event),
        waitsFor,
        staged: arrival.staged,
      },
    },
    // The head says nothing else, but segments of new states may have been made on it.
    after: isOutlier ? before : { ...before, head: { ...before.head, version: before.head.version + 1 } },
  }
}

/** A live event: it may become a forward extremity, end others, and with them change the current state. */
function moved(
  context: AdmitContext,
  before: BuildingHead,
  arrival: Arrival,
  stored: StoredEvent,
  attention: Attention | undefined,
): Built {
  const isAccepted = stored.fate === 'accepted'
  const { extremities, isSame, missing } = extremitiesWith(context, before, arrival, stored)
  const state = isSame ? before.head.state : context.resolve(extremities.map((event) => event.stateAfter!))
  const { redacted, redaction, waitsFor } = redactionsWith(context, arrival, stored)
  const lookUp: LookUp = (type, key) =>
    type === stored.event.type && key === stored.event.stateKey
      ? redacted
      : context.view.stateEvent(before.head.state, type, key)
  const isEntrance = isAccepted && arrival.kind === 'entrance'
  const endsPartialState = isEntrance && before.head.partialJoin !== undefined
  const effects = effectsOf(
    changesBetween(context, before.head.state, state, redacted),
    withoutRedacted(before.summary, redaction, isCurrent(context, before, redaction?.target)),
    lookUp,
  )
  return {
    event: {
      stored: redacted,
      // A change of the current state is told at a position of the log, also when the event itself is shown to nobody.
      order: isAccepted || state !== before.head.state ? 'live' : 'unplaced',
      stateChange:
        state === before.head.state && !endsPartialState
          ? undefined
          : { before: before.head.state, after: state, ...(endsPartialState && { completes: true }) },
      memberships: effects.memberships,
      highlights: attention?.highlights ?? [],
      // Nothing comes of an event of ours that is not taken in: sent again, it is refused again.
      transaction: isAccepted ? arrival.transaction : undefined,
      replacement: isAccepted ? arrival.replacement : undefined,
      redaction,
      received: {
        promoted: context.held(arrival.event.eventId) !== undefined,
        missingPrevEvents: [...new Set([...missingOf(context, stored.event), ...missing])],
        waitsFor,
        staged: arrival.staged,
        entersPartially: isEntrance ? arrival.partial : undefined,
        endsPartialState: endsPartialState ? { nowTs: context.now } : undefined,
      },
    },
    after: {
      head: {
        version: before.head.version + 1,
        forwardExtremities: extremities.map((event) => event.number),
        state,
        notifyCount: stored.notifyCount,
        highlightCount: stored.highlightCount,
        // Peers write into origin_server_ts what they like.
        lastActivityTs: isAccepted
          ? Math.max(before.head.lastActivityTs, Math.min(stored.event.originServerTs, context.now))
          : before.head.lastActivityTs,
        partialJoin: !isEntrance ? before.head.partialJoin : arrival.partial && stored.number,
      },
      summary: effects.summary,
      extremities: extremities.map((event) => (event === stored ? redacted : event)),
      create: before.create ?? redacted,
    },
  }
}

/** The forward extremities after an event, and the prev events on the way to those it ends that we do not hold. */
export function extremitiesWith(
  context: AdmitContext,
  before: BuildingHead,
  arrival: Arrival,
  stored: StoredEvent,
): { extremities: readonly StoredEvent[]; isSame: boolean; missing: readonly string[] } {
  const isAccepted = stored.fate === 'accepted'
  if (isAccepted && arrival.kind === 'entrance') return { extremities: [stored], isSame: false, missing: [] }
  const isMissed = context.isMissed(stored.event.eventId)
  if (!isAccepted && !isMissed) return { extremities: before.extremities, isSame: true, missing: [] }
  const passed = behind(context, stored)
  // Where ids are what their server says, who missed the event may be what it stands on: then neither would be an end of
  // the room, and what the one was to hold together falls apart. An end too many is merged by the next event.
  const mayCircle = isMissed && mayStandOnItself(context, stored)
  const kept = mayCircle
    ? before.extremities
    : before.extremities.filter((event) => !passed.extremities.has(event.number))
  const extremities = isAccepted && !isMissed ? [...kept, stored] : kept
  // Whoever missed the event has descendants of its own among the extremities: one is always left.
  if (extremities.length === 0)
    throw new Error(`event ${stored.event.eventId} would leave the room without an extremity`)
  const isSame = extremities.length === before.extremities.length && kept.length === before.extremities.length
  return { extremities, isSame, missing: passed.missing }
}

/**
 * Redactions in either order: what the event redacts, if it is one and applies, and the event as it is left by redactions
 * that came before it.
 */
export function redactionsWith(
  context: AdmitContext,
  { event }: Arrival,
  stored: StoredEvent,
): { redacted: StoredEvent; redaction: NewEvent['redaction']; waitsFor: string | undefined } {
  const by = context.redactionsOf(event.eventId).find((redaction) => applies(context, redaction, stored))
  const left = by === undefined || stored.redactedBy !== undefined ? undefined : redactionOf(context.rules, stored)
  const redacted =
    left === undefined ? stored : { ...stored, event: left.event, text: left.text, redactedBy: by!.number }
  const targetId = targetOf(event)
  if (stored.fate !== 'accepted' || targetId === undefined || stored.stateBefore === undefined) {
    return { redacted, redaction: undefined, waitsFor: undefined }
  }
  const target = context.held(targetId)
  if (target === undefined) return { redacted, redaction: undefined, waitsFor: targetId }
  const isToApply = target.redactedBy === undefined && applies(context, stored, target)
  return { redacted, redaction: isToApply ? redactionOf(context.rules, target) : undefined, waitsFor: undefined }
}

/**
 * The create event is never redacted: what the room is, its version among it, is in what redaction took from it in
 * versions before 11.
 */
function applies({ rules, view }: AdmitContext, redaction: StoredEvent, target: StoredEvent): boolean {
  if (target.event.type === 'm.room.create' || redaction.stateBefore === undefined) return false
  const create = view.stateEvent(redaction.stateBefore, 'm.room.create', '')
  if (create === undefined) return false
  const levels = powerLevels(
    rules,
    create.event,
    view.stateEvent(redaction.stateBefore, 'm.room.power_levels', '')?.event,
  )
  return redactionApplies(rules, redaction.event, target.event, levels)
}

const isCurrent = ({ view }: BuildContext, { head }: BuildingHead, target: StoredEvent | undefined): boolean =>
  target?.event.stateKey !== undefined &&
  view.stateEvent(head.state, target.event.type, target.event.stateKey)?.number === target.number

export const missingOf = (context: AdmitContext, event: RoomEvent): string[] =>
  event.prevEvents.filter((id) => withPlace(context.held(id)) === undefined)

function stateBeforeOf(context: AdmitContext, before: BuildingHead, arrival: Arrival): StateReference {
  const { event, stateAfter, stateBefore } = arrival
  if (stateBefore !== undefined) return stateOf(context, before.head.state, stateBefore)
  const unknown = missingOf(context, event)
  const entrance = unknown.length === 0 ? undefined : entranceOf(context, before)
  if (entrance !== undefined && standsBeside(event, entrance.event)) return entrance.stateBefore!
  // Beside a state that lacks members, everybody in a whole one would be in conflict.
  const given = entrance === undefined ? stateAfter : undefined
  const missing = unknown.filter((id) => given?.has(id) !== true)
  if (missing.length > 0) throw new EventsUnknown('prev', missing)
  const states = event.prevEvents.map((id) => stateAfterPrev(context, before.head.state, id, given))
  return states.length === 0 ? emptyState : context.resolve(states)
}

const entranceOf = ({ entrance, view }: AdmitContext, { head: { partialJoin } }: BuildingHead) =>
  entrance ?? (partialJoin === undefined ? undefined : view.event(partialJoin))

/** Who had not heard of our join stands on what it stands on: the state before both is the same. */
export const standsBeside = ({ prevEvents }: RoomEvent, join: RoomEvent): boolean =>
  prevEvents.length === join.prevEvents.length && prevEvents.every((id) => join.prevEvents.includes(id))

function authEventsOf(context: AdmitContext, { event, ofOtherRooms = [] }: Arrival): StoredEvent[] {
  const held = event.authEvents.map((id) => context.held(id))
  const missing = event.authEvents.filter((id, i) => held[i] === undefined && !ofOtherRooms.includes(id))
  if (missing.length > 0) throw new EventsUnknown('auth', missing)
  return held.filter((authEvent) => authEvent !== undefined)
}
