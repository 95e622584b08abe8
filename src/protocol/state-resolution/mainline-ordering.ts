import type { EventNumber } from '../numbers.js'
import { authEventAt, isEarlier } from './power-ordering.js'
import type { Events } from './sets.js'

/**
 * "Given mainline positions calculated from P, the mainline ordering based on P of a set of events is the ordering, from
 * smallest to largest, using the following comparison relation on events: for events x and y, x < y if
 * 1. the mainline position of x is greater than the mainline position of y (i.e. the auth chain of x is based on an earlier
 *    event in the mainline than y); or
 * 2. the mainline positions of the events are the same, but x's origin_server_ts is less than y's origin_server_ts; or
 * 3. … the same origin_server_ts, but x's event_id is less than y's event_id."
 */
export function mainlineOrdering(
  powerLevels: EventNumber | undefined,
  events: readonly EventNumber[],
  event: Events,
): EventNumber[] {
  if (events.length < 2) return [...events]
  const positionOf = mainlinePositions(powerLevels, event)
  const placed = events.map((number) => ({ number, event: event(number).event, position: positionOf(number) }))
  placed.sort((x, y) => {
    if (x.position !== y.position) return x.position > y.position ? -1 : 1
    return isEarlier(x.event, y.event) ? -1 : 1
  })
  return placed.map(({ number }) => number)
}

/**
 * The mainline of P: P, the power levels event among its auth events, that one's, and so on. The position of an event is the
 * index of the first power levels event on its own such way that is in the mainline; Infinity when none is. What was found
 * on the way is remembered: a way is walked once.
 */
function mainlinePositions(p: EventNumber | undefined, event: Events): (number: EventNumber) => number {
  const positions = new Map<EventNumber, number>()
  for (let next = p; next !== undefined && !positions.has(next); next = before(next, event))
    positions.set(next, positions.size)
  return (number) => {
    const passed: EventNumber[] = []
    const seen = new Set<EventNumber>()
    let next = before(number, event)
    while (next !== undefined && !positions.has(next) && !seen.has(next)) {
      passed.push(next)
      seen.add(next)
      next = before(next, event)
    }
    const position = next === undefined ? Infinity : (positions.get(next) ?? Infinity)
    for (const one of passed) positions.set(one, position)
    return position
  }
}

const before = (number: EventNumber, event: Events): EventNumber | undefined =>
  authEventAt('m.room.power_levels', event(number).authEvents, event)?.number
