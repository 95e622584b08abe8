/**
 * Rooms that this server is coming into. Who lets us in tells the room's servers, and they begin to send: what arrives of
 * a room meanwhile waits until the join is stored, rather than being of a room we do not know.
 */
import { LRUCache } from 'lru-cache'
import { settledBefore } from '../../settled-within.js'

/** What arrives together does not wait longer, in ms, however many rooms it is of: its sender would think us dead. */
const PATIENCE = 20_000

export const patienceForEntrances = (): AbortSignal => AbortSignal.timeout(PATIENCE)

export class Entrances {
  private readonly underWay = new LRUCache<string, Promise<unknown>>({ max: 10_000 })

  /** Runs what makes the room known. */
  async during<T>(roomId: string, work: () => Promise<T>): Promise<T> {
    const entering = work()
    const settled = entering.catch(() => undefined)
    this.underWay.set(roomId, settled)
    try {
      return await entering
    } finally {
      if (this.underWay.get(roomId) === settled) this.underWay.delete(roomId)
    }
  }

  /** Or the patience of who waits has. */
  async ended(roomId: string, patience: AbortSignal): Promise<void> {
    const entering = this.underWay.get(roomId)
    if (entering !== undefined) await settledBefore(patience, entering)
  }
}
