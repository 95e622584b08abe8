/**
 * A limit on the work of a resolution that needs no clock: whatever the algorithm does, it asks for events, and does a
 * little with each. A step is about a microsecond of a machine of 2026 (test/protocol/state-resolution/cost.test.ts).
 */
import { isObject, own } from '../json.js'
import type { EventNumber } from '../numbers.js'
import type { Events, ResolutionEvent } from './sets.js'

export class TooManySteps extends Error {
  override readonly name = 'TooManySteps'
}

/** Reading levels and comparing them with others, an entry being some 30 characters: 0.9 ms for 64 KB. */
const CHARACTERS_A_STEP = 70
/** The signature checks that one third-party invite may cost. */
const STEPS_OF_THIRD_PARTY_INVITE = 11_000

export function counted(event: Events, steps: number): Events {
  if (steps === Infinity) return event
  const seen = new Set<EventNumber>()
  let left = steps
  return (number) => {
    const found = event(number)
    left -= seen.has(number) ? 1 : 1 + stepsOf(found)
    if (left < 0) throw new TooManySteps(`a resolution takes more than ${steps} steps`)
    seen.add(number)
    return found
  }
}

/** Beside those of any event; once, since what is read of levels is remembered. */
function stepsOf({ event: { type, content }, characters = 0 }: ResolutionEvent): number {
  if (type === 'm.room.power_levels') return characters / CHARACTERS_A_STEP
  return type === 'm.room.member' && isObject(own(content, 'third_party_invite')) ? STEPS_OF_THIRD_PARTY_INVITE : 0
}
