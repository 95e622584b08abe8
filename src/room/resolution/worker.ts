import type { EventNumber } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { resolveState, type ConflictedSets, type ResolvedState } from '../../protocol/state-resolution/index.js'
import type { StoredEvent } from '../../store/stored-event.js'
import { resolutionEventOf } from './resolution.js'

export class ResolutionWorker {
  async resolve(
    rules: RoomVersionRules,
    sets: ConflictedSets,
    events: ReadonlyMap<EventNumber, StoredEvent>,
  ): Promise<ResolvedState> {
    return resolveState(rules, sets, (number) => resolutionEventOf(events.get(number)!))
  }

  async close(): Promise<void> {}
}
