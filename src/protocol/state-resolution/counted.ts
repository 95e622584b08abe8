/**
 * A limit on the work of a resolution that needs no clock: whatever the algorithm does, it asks for events, and does a
 * little with each. A step is about a microsecond of a machine of 2026 (test/protocol/state-resolution/cost.test.ts).
 */
import type { SpendChecks } from '../authorization/index.js'
import type { EventNumber } from '../numbers.js'
import type { Events, ResolutionEvent } from './sets.js'

export class TooManySteps extends Error {
  override readonly name = 'TooManySteps'
}

/** Reading levels and comparing them with others, an entry being some 30 characters: 0.9 ms for 64 KB. */
const CHARACTERS_A_STEP = 70
/** The check of a signature of a third-party invite. */
const STEPS_A_CHECK = 110

export interface Counted {
  readonly event: Events
  readonly spendChecks: SpendChecks
}

export function counted(event: Events, steps: number): Counted {
  const seen = new Set<EventNumber>()
  let left = steps
  const spend = (spent: number): void => {
    left -= spent
    if (left < 0) throw new TooManySteps(`a resolution takes more than ${steps} steps`)
  }
  return {
    event: (number) => {
      const found = event(number)
      spend(seen.has(number) ? 1 : 1 + stepsOf(found))
      seen.add(number)
      return found
    },
    spendChecks: (checks) => spend(checks * STEPS_A_CHECK),
  }
}

/** Beside those of any event; once, since what is read of levels is remembered. */
const stepsOf = ({ event: { type }, characters = 0 }: ResolutionEvent): number =>
  type === 'm.room.power_levels' ? characters / CHARACTERS_A_STEP : 0
