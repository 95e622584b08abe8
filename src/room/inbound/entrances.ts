/**
 * Rooms that this server is coming into. Who lets us in tells the room's servers, and they begin to send: what arrives of
 * a room meanwhile waits until the join is stored, rather than being of a room we do not know.
 */
import { LRUCache } from 'lru-cache'
import { settledWithin } from '../../settled-within.js'

/** What arrives does not wait longer, in ms: its sender would think us dead. */
const PATIENCE = 20_000

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

  async ended(roomId: string): Promise<void> {
    const entering = this.underWay.get(roomId)
    if (entering !== undefined) await settledWithin(PATIENCE, entering)
  }
}
