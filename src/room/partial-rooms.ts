/**
 * Rooms whose members are still to come (docs/room-engine.md, "Joining with partial state"). What needs all of them waits
 * here until they have come, for so long and no longer.
 */
import type { RoomNumber } from '../protocol/numbers.js'
import type { Fact } from '../store/facts.js'

export class PartialRooms {
  private readonly waiting = new Map<RoomNumber, Set<() => void>>()

  /** Called for every fact in the order of the log, after heads have followed it. */
  follow(facts: readonly Fact[]): void {
    for (const fact of facts) {
      if (fact.kind !== 'state-change' || fact.completes !== true) continue
      for (const wake of this.waiting.get(fact.room) ?? []) wake()
    }
  }

  /** False when the members have not come in time. `patience` in ms. */
  async ended(room: RoomNumber, isPartial: () => Promise<boolean>, patience: number): Promise<boolean> {
    let wake!: () => void
    const woken = new Promise<void>((resolve) => (wake = resolve))
    // First it is waited, then it is looked: nothing is missed.
    const waiting = this.waiting.get(room) ?? new Set()
    this.waiting.set(room, waiting.add(wake))
    const timer = setTimeout(wake, patience)
    try {
      if (!(await isPartial())) return true
      await woken
      return !(await isPartial())
    } finally {
      clearTimeout(timer)
      waiting.delete(wake)
      if (waiting.size === 0 && this.waiting.get(room) === waiting) this.waiting.delete(room)
    }
  }
}
