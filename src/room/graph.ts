/** The graph behind an event that is being taken in. */
import { sql } from 'kysely'
import type { EventNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import { change, entries, type StateChange } from '../protocol/state-trie.js'
import { Missing, whenLoaded } from '../store/missing.js'
import { isPauseDue, pause } from '../store/pauses.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { AdmitContext } from './admit-event.js'

/** So many rejected and soft-failed events in a row are passed at first; beyond, the event has to wait. */
const MAX_PASSED = 10_000

export class GraphTooCostly extends Error {
  override readonly name = 'GraphTooCostly'
}

/** Passed in one go: some milliseconds. Then others have their turn, and the walk goes on where it was. */
const PASSED_AT_ONCE = 1_000

/** A walk back from an event. */
export interface WalkBehind {
  /**
   * The accepted events which an accepted event ends as forward extremities, "counted through rejected and soft-failed
   * ones": its prev events, and where those are not accepted, theirs.
   */
  readonly extremities: Set<EventNumber>
  /** Ids on the way that we do not hold. */
  readonly missing: string[]
  readonly passed: Set<EventNumber>
  readonly open: EventNumber[]
}

/** @throws GraphTooCostly, Missing */
export function behind(context: AdmitContext, { number, prevEvents }: StoredEvent): WalkBehind {
  let walk = context.walks.get(number)
  if (walk === undefined) {
    walk = { extremities: new Set(), missing: [], passed: new Set(), open: [...prevEvents] }
    context.walks.set(number, walk)
  }
  let atOnce = 0
  for (let next = walk.open.at(-1); next !== undefined; next = walk.open.at(-1)) {
    if (walk.passed.has(next)) walk.open.pop()
    else if (atOnce++ < PASSED_AT_ONCE) pass(context, walk, next)
    else throw new Missing(pause)
  }
  return walk
}

/** The walk is as it was when something is missing. */
function pass(context: AdmitContext, { extremities, missing, passed, open }: WalkBehind, next: EventNumber): void {
  haveBehind(context, next, open)
  const event = context.view.event(next)
  const isEnd = event.fate === 'accepted'
  const before = isEnd ? [] : prevEventsOf(context, event, missing)
  open.pop()
  passed.add(next)
  if (isEnd) extremities.add(next)
  else open.push(...before)
  if (passed.size > MAX_PASSED * context.effort)
    throw new GraphTooCostly('too many rejected and soft-failed events lie before the event')
}

/** Events that are looked at for a circle. */
const MOST_IN_CIRCLE = 200

/**
 * Whether an event stands on one that names it, as far as a look back tells: beyond so many events it is taken to. Ids that
 * are hashes make no circles; those of room versions 1 and 2 are what their servers say.
 */
export function mayStandOnItself({ rules, view }: AdmitContext, { event, prevEvents }: StoredEvent): boolean {
  if (rules.eventIdFormat !== 'in-pdu') return false
  // Grows while it is walked.
  const walk = new Set(prevEvents)
  for (const number of walk) {
    if (walk.size > MOST_IN_CIRCLE) return true
    const before = view.event(number)
    if (before.event.prevEvents.includes(event.eventId)) return true
    for (const prev of before.prevEvents) walk.add(prev)
  }
  return false
}

/** What a walk comes to next: with one statement that tells of all that is open and what is passed behind it. */
function haveBehind(
  { view, stores, room, effort }: AdmitContext,
  next: EventNumber,
  open: readonly EventNumber[],
): void {
  if (view.knownEvent(next) !== undefined) return
  throw new Missing(async () => {
    const { rows } = await sql<{ event: EventNumber }>`
      with recursive walk (event) as (
        select unnest(${[...open]}::bigint[])
        union
        select unnest(event.prev_events) from walk join event on event.room = ${room} and event.event = walk.event
        where fate <> 0
      )
      select event from walk limit ${MAX_PASSED * effort + 1}
    `.execute(stores.db)
    const numbers = rows.map(({ event }) => event)
    for (let at = 0; at < numbers.length; at += PASSED_AT_ONCE) {
      const some = numbers.slice(at, at + PASSED_AT_ONCE)
      await whenLoaded(() => view.haveEvents(some))
      if (isPauseDue()) await pause()
    }
  })
}

/** What it names and was not here when it came may have come since; what has not is added to `missing`. */
function prevEventsOf(context: AdmitContext, event: StoredEvent, missing: string[]): readonly EventNumber[] {
  const { prevEvents } = event.event
  if (event.prevEvents.length === prevEvents.length) return event.prevEvents
  const held = prevEvents.map((id) => withPlace(context.held(id)))
  missing.push(...prevEvents.filter((_, i) => held[i] === undefined))
  return held.flatMap((prev) => prev?.number ?? [])
}

/** An event that the room goes through: outliers are as if they were not held. */
export const withPlace = (held: StoredEvent | undefined): StoredEvent | undefined =>
  held?.stateAfter === undefined ? undefined : held

/** The state after a prev event: ours, or the one that was given because we have none. One of them there must be. */
export function stateAfterPrev(
  context: AdmitContext,
  current: StateReference,
  eventId: string,
  given: ReadonlyMap<string, readonly EventNumber[]> | undefined,
): StateReference {
  const held = context.held(eventId)?.stateAfter
  if (held !== undefined) return held
  return stateOf(context, current, given!.get(eventId)!)
}

/** A state of these events, made from one that we have: what both hold is shared. */
export function stateOf(context: AdmitContext, from: StateReference, events: readonly EventNumber[]): StateReference {
  const keys = stateKeysOf(context, events)
  const changes: StateChange[] = []
  for (const [key] of context.view.run(entries(context.packer, from)))
    if (!keys.has(key)) changes.push([key, undefined])
  for (const [key, event] of keys) changes.push([key, event])
  return context.view.run(change(context.packer, from, changes))
}

function stateKeysOf(
  { view, stores, room }: AdmitContext,
  events: readonly EventNumber[],
): Map<StateKeyNumber, EventNumber> {
  const keys = new Map<StateKeyNumber, EventNumber>()
  const unknown: EventNumber[] = []
  for (const number of events) {
    const key = view.stateKeyOf(number)
    if (key === undefined) unknown.push(number)
    else keys.set(key, number)
  }
  if (unknown.length === 0) return keys
  throw new Missing(async () => {
    const { rows } = await sql<{ event: EventNumber; state_key: StateKeyNumber | null }>`
      select event, state_key from event where room = ${room} and event = any(${unknown}::bigint[])
    `.execute(stores.db)
    const found = new Map(rows.map((row) => [row.event, row.state_key]))
    for (const number of unknown) {
      const key = found.get(number)
      if (key === null || key === undefined) throw new Error(`event ${number} is not a state event that is held`)
      view.holdStateKey(number, key)
    }
  })
}
