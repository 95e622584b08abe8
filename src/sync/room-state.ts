/**
 * The state part of a room in a sync: what the client has to know besides the timeline, as differences of state tries.
 *
 * `state` leads from what the client had to the start of the timeline. Current state can change without an event that
 * shows it (a resolution, or a filter that hides the event): such changes are given too, since nothing else would tell.
 * `state_after` leads to the end of the timeline, whatever the timeline shows.
 */
import { eventMatches, matchesNothing } from '../protocol/filter.js'
import { ownString } from '../protocol/json.js'
import type { EventNumber, StateKeyNumber, StateReference } from '../protocol/numbers.js'
import { difference, emptyState, entries, lookUpMany, type StateDifference } from '../protocol/state-trie.js'
import type { VisibleEvent } from '../room/gate.js'
import { stateKeyOf } from '../store/state-keys.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom, Reading } from './reading.js'
import type { Timeline } from './timeline.js'

export interface StateSpan {
  /** What the client has; `emptyState` when it gets everything. */
  readonly from: StateReference
  /** The current state at the position of the answer. */
  readonly to: StateReference
}

export interface MemberChange {
  readonly userId: string
  readonly before: string | undefined
  readonly after: string | undefined
}

/** `span` undefined: current state is what it was. `heroes` are told with the summary. */
export async function readState(
  reading: Reading,
  name: KnownRoom,
  span: StateSpan | undefined,
  timeline: Timeline,
  heroes: readonly string[],
): Promise<readonly VisibleEvent[]> {
  const filter = reading.filter.room.state
  if (matchesNothing(filter)) return []
  const target = targetOf(reading, span, timeline)
  const wanted = new Map<StateKeyNumber, EventNumber>()
  if (span?.from === emptyState) await addWhole(reading, name, target, wanted)
  else if (span !== undefined) addChanges(await differenceOf(reading, name, span.from, target), wanted)
  if (span !== undefined && reading.stateAfter.length === 0) {
    const shown = new Set(timeline.events.map((event) => event.number))
    for (const change of await differenceOf(reading, name, target, span.to)) {
      if (change.after !== undefined && !shown.has(change.after)) wanted.set(change.key, change.after)
    }
  }
  if (filter.lazyLoadMembers) await addMembers(reading, name, span, target, timeline, heroes, wanted)
  const events = await reading.stores.events.events(name.room, [...wanted.values()])
  // The user is joined, or was until the end of the window: the state of what they see of the room is theirs to see.
  return reading.gate.inReadableState([...events.values()]).filter(({ event }) => eventMatches(filter, event))
}

/** Changes of memberships between two states, as lists and devices need them. */
export async function memberChanges(reading: Reading, name: KnownRoom, span: StateSpan): Promise<MemberChange[]> {
  const changes = await differenceOf(reading, name, span.from, span.to)
  if (changes.length === 0) return []
  const numbers = changes.flatMap(({ before, after }) => [before, after]).filter((number) => number !== undefined)
  const events = await reading.stores.events.events(name.room, numbers)
  return changes.flatMap(({ before, after }) => {
    const was = before === undefined ? undefined : events.get(before)
    const is = after === undefined ? undefined : events.get(after)
    const { type, stateKey: userId } = (is ?? was)?.event ?? {}
    if (type !== 'm.room.member' || userId === undefined) return []
    return [{ userId, before: membershipOf(was), after: membershipOf(is) }]
  })
}

const membershipOf = (event: StoredEvent | undefined): string | undefined =>
  event && ownString(event.event.content, 'membership')

/** The state that the state part leads to. */
function targetOf({ stateAfter }: Reading, span: StateSpan | undefined, { events }: Timeline): StateReference {
  if (stateAfter.length > 0) return span?.to ?? events.at(-1)?.stateAfter ?? emptyState
  return events[0]?.stateBefore ?? span?.to ?? emptyState
}

async function differenceOf(
  { stores }: Reading,
  name: KnownRoom,
  from: StateReference,
  to: StateReference,
): Promise<readonly StateDifference[]> {
  return from === to ? [] : stores.states.work(name.room, (segments) => difference(segments, from, to))
}

/** A key that is no longer in the state cannot be told of. */
function addChanges(changes: readonly StateDifference[], wanted: Map<StateKeyNumber, EventNumber>): void {
  for (const { key, after } of changes) if (after !== undefined) wanted.set(key, after)
}

async function addWhole(
  { stores, filter, keyKinds }: Reading,
  name: KnownRoom,
  state: StateReference,
  wanted: Map<StateKeyNumber, EventNumber>,
): Promise<void> {
  const all = await stores.states.work(name.room, (segments) => entries(segments, state))
  if (!filter.room.state.lazyLoadMembers) {
    for (const [key, event] of all) wanted.set(key, event)
    return
  }
  const others = new Set(await keyKinds.others(all.map(([key]) => key)))
  for (const [key, event] of all) if (others.has(key)) wanted.set(key, event)
}

/**
 * Lazy-loading: senders of the timeline, heroes and, with a whole state, the user's own membership. Changes of members in
 * a gap are there anyway: they are part of the difference.
 * https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
 */
async function addMembers(
  reading: Reading,
  name: KnownRoom,
  span: StateSpan | undefined,
  state: StateReference,
  { events }: Timeline,
  heroes: readonly string[],
  wanted: Map<StateKeyNumber, EventNumber>,
): Promise<void> {
  const { stores, requester, filter, view, since, now } = reading
  const isWhole = span?.from === emptyState
  const users = new Set([...events.map(({ event }) => event.sender), ...heroes])
  if (isWhole) users.add(requester.userId)
  const keys = await stores.keys.find([...users].map((user) => ['m.room.member', user] as const))
  const found = await stores.states.work(name.room, (segments) => lookUpMany(segments, state, keys.values()))
  for (const user of users) {
    const key = keys.get(stateKeyOf(['m.room.member', user]))
    const event = key === undefined ? undefined : found.get(key)
    if (key === undefined || event === undefined || wanted.has(key)) continue
    const isRedundant =
      !isWhole &&
      !filter.room.state.includeRedundantMembers &&
      since !== undefined &&
      view.sentMembers.has(requester.device, name.room, user, event, since)
    if (isRedundant) continue
    wanted.set(key, event)
    view.sentMembers.note(requester.device, name.room, user, event, now)
  }
}
