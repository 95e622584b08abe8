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
  const shown = new Set(timeline.events.map((event) => event.number))
  if (span?.from === emptyState) await addWhole(reading, name, target, wanted)
  else if (span !== undefined) addChanges(await differenceOf(reading, name, span.from, target), wanted)
  if (span !== undefined && reading.stateAfter.length === 0) {
    const known = span.from === emptyState ? [] : await differenceOf(reading, name, target, span.from)
    addUnshown(await differenceOf(reading, name, target, span.to), known, shown, wanted)
  }
  if (filter.lazyLoadMembers) {
    const users = new Set([...timeline.events.map(({ event }) => event.sender), ...heroes])
    await addMembers(reading, name, span, target, shown, users, wanted)
  }
  const events = await reading.stores.events.events(name.room, [...wanted.values()])
  // The user is joined, or was until the end of the window: the state of what they see of the room is theirs to see.
  return reading.gate.inReadableState([...events.values()]).filter(({ event }) => eventMatches(filter, event))
}

/** What changed between two states of what lists and devices need, whatever the timeline shows. */
export interface ShownChanges {
  /** Who came and went. */
  readonly members: readonly MemberChange[]
  /** A room that loses its name is named by its heroes. */
  readonly isRenamed: boolean
}

export const namingTypes: ReadonlySet<string> = new Set(['m.room.name', 'm.room.canonical_alias'])

export async function shownChanges(reading: Reading, name: KnownRoom, span: StateSpan): Promise<ShownChanges> {
  const changes = await differenceOf(reading, name, span.from, span.to)
  if (changes.length === 0) return nothingShown
  const numbers = changes.flatMap(({ before, after }) => [before, after]).filter((number) => number !== undefined)
  const events = await reading.stores.events.events(name.room, numbers)
  let isRenamed = false
  const members: MemberChange[] = []
  for (const change of changes) {
    const was = change.before === undefined ? undefined : events.get(change.before)
    const is = change.after === undefined ? undefined : events.get(change.after)
    const { type, stateKey } = (is ?? was)?.event ?? {}
    if (stateKey === '' && namingTypes.has(type!)) isRenamed = true
    if (type !== 'm.room.member' || stateKey === undefined) continue
    const [before, after] = [membershipOf(was), membershipOf(is)]
    if (before !== after) members.push({ userId: stateKey, before, after })
  }
  return { members, isRenamed }
}

export const nothingShown: ShownChanges = { members: [], isRenamed: false }

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

/**
 * Of what the timeline does not lead to, the current event, unless the client has it: the timeline may stand on a branch
 * of the room, and what was otherwise there is told to nobody.
 */
function addUnshown(
  changes: readonly StateDifference[],
  known: readonly StateDifference[],
  shown: ReadonlySet<EventNumber>,
  wanted: Map<StateKeyNumber, EventNumber>,
): void {
  const has = new Map(known.map(({ key, after }) => [key, after]))
  for (const { key, after } of changes) {
    if (after !== undefined && shown.has(after)) continue
    if (after === undefined || has.get(key) === after) wanted.delete(key)
    else wanted.set(key, after)
  }
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
 * a gap are there anyway: they are part of the difference. Of whom the timeline does not show as they are, the current
 * membership: on a branch of the room they may have had another.
 * https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
 */
async function addMembers(
  reading: Reading,
  name: KnownRoom,
  span: StateSpan | undefined,
  state: StateReference,
  shown: ReadonlySet<EventNumber>,
  users: Set<string>,
  wanted: Map<StateKeyNumber, EventNumber>,
): Promise<void> {
  const { stores, rooms, requester, filter, view, since, now } = reading
  const isWhole = span?.from === emptyState
  if (isWhole) users.add(requester.userId)
  const keys = await stores.keys.find([...users].map((user) => ['m.room.member', user] as const))
  const membersIn = (state: StateReference) =>
    stores.states.work(name.room, (segments) => lookUpMany(segments, state, keys.values()))
  const current = span?.to ?? (await rooms.head(name)).head.state
  const found = await membersIn(state)
  const latestMembers = current === state ? found : await membersIn(current)
  for (const user of users) {
    const key = keys.get(stateKeyOf(['m.room.member', user]))
    const latest = key === undefined ? undefined : latestMembers.get(key)
    const event = key === undefined || (latest !== undefined && !shown.has(latest)) ? latest : found.get(key)
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
