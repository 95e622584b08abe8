/** Auth edges at hand: of uncommitted events from the view, of the others from memory, and loaded by whole frontiers. */
import type { EventNumber } from '../../protocol/numbers.js'
import { authChildren, loadAuthEdges, type AuthChild, type AuthEdges } from '../../store/auth-chains.js'
import type { StateView } from '../../store/state-view.js'
import type { Stores } from '../../store/stores.js'

export interface Children {
  readonly byParent: ReadonlyMap<EventNumber, readonly AuthChild[]>
  /** Of these there may be more than were asked for. */
  readonly cut: ReadonlySet<EventNumber>
}

export class AuthGraph {
  private readonly held = new Map<EventNumber, AuthEdges>()

  constructor(
    private readonly stores: Stores,
    private readonly view: StateView,
  ) {}

  /** The edges of an event that was loaded. */
  get(number: EventNumber): AuthEdges {
    const edges = this.held.get(number)
    if (edges === undefined) throw new Error(`the auth events of event ${number} were not loaded`)
    return edges
  }

  /** One statement for all that are not at hand. */
  async load(numbers: Iterable<EventNumber>): Promise<void> {
    const missing: EventNumber[] = []
    for (const number of numbers) {
      if (this.held.has(number)) continue
      const edges = this.stores.memory.authEdges.get(number) ?? this.view.knownEvent(number)
      if (edges === undefined) missing.push(number)
      else this.held.set(number, edges)
    }
    if (missing.length === 0) return
    for (const [number, edges] of await loadAuthEdges(this.stores, this.view.room, missing))
      this.held.set(number, edges)
    const lost = missing.find((number) => !this.held.has(number))
    if (lost !== undefined) throw new Error(`event ${lost} of room ${this.view.room} is not there`)
  }

  /** State events that name one of these as an auth event: at most `limit` of each, and the uncommitted. */
  async children(numbers: readonly EventNumber[], limit: number): Promise<Children> {
    const byParent = await authChildren(this.stores, this.view.room, numbers, limit)
    const cut = new Set(numbers.filter((number) => byParent.get(number)!.length === limit))
    for (const { number, stateKey, authEvents } of this.view.uncommittedEvents()) {
      if (stateKey === undefined) continue
      for (const one of authEvents) byParent.get(one)?.push({ event: number, stateKey, authEvents })
    }
    return { byParent, cut }
  }
}
