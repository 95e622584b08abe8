/**
 * What of a timeline may be shown to who takes its last state event of each kind for the current one.
 *
 * An accepted state event need not become current: in a fork, state resolution may prefer another, and current state may
 * change without any event in the timeline. `state` comes before the timeline, so nothing in it can correct what the
 * timeline says ("between the previous sync and the **start** of the timeline"). A timeline therefore begins after the
 * last event that would mislead, `limited`: the client finds that event when it pages back, where it changes nothing.
 * Who uses `state_after` is told the state at the end and sees everything.
 */
import type { EventNumber, StateKeyNumber } from '../protocol/numbers.js'
import { lookUpMany } from '../protocol/state-trie.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { KnownRoom, Reading } from './reading.js'
import type { StateSpan } from './room-state.js'
import type { Timeline } from './timeline.js'

/** `span` undefined: current state did not change in the window of the timeline. */
export async function withoutMisleading(
  reading: Reading,
  name: KnownRoom,
  span: StateSpan | undefined,
  timeline: Timeline,
): Promise<Timeline> {
  const { events } = timeline
  if (reading.stateAfter.length > 0 || isLinear(events, span)) return timeline
  const last = lastOfEachKey(events)
  if (last.size === 0) return timeline
  const current = await currentOf(reading, name, span, [...last.keys()])
  const misleading = [...last].flatMap(([key, i]) => (current.get(key) === events[i]!.number ? [] : [i]))
  if (misleading.length === 0) return timeline
  return { events: events.slice(Math.max(...misleading) + 1), limited: true }
}

/** Nearly always: each event stands on the state after the one before, and the last one's is the current state. */
function isLinear(events: readonly StoredEvent[], span: StateSpan | undefined): boolean {
  const stands = events.every((event, i) => i === 0 || event.stateBefore === events[i - 1]!.stateAfter)
  return stands && (events.length === 0 || events.at(-1)!.stateAfter === span?.to)
}

function lastOfEachKey(events: readonly StoredEvent[]): Map<StateKeyNumber, number> {
  const last = new Map<StateKeyNumber, number>()
  for (const [i, { stateKey }] of events.entries()) if (stateKey !== undefined) last.set(stateKey, i)
  return last
}

/** Nothing that a timeline shows is current where current state did not change meanwhile. */
async function currentOf(
  { stores }: Reading,
  name: KnownRoom,
  span: StateSpan | undefined,
  keys: readonly StateKeyNumber[],
): Promise<ReadonlyMap<StateKeyNumber, EventNumber>> {
  return span === undefined
    ? new Map()
    : stores.states.work(name.room, (segments) => lookUpMany(segments, span.to, keys))
}
