/**
 * Receipts of other servers' users that come before the event they are of. They wait in a table, the newest of each user
 * and thread, and count when the event is here: right after the commit that brings it, or, where the process died in
 * between or the event was fetched as history, with the next round of what is left over (`takeOverdue`). A receipt never
 * moves backwards, so that it does no harm to take one twice.
 */
import type { Kysely } from 'kysely'
import { serverNameOf } from '../protocol/identifiers.js'
import type { Fact } from '../store/facts.js'
import type { LogWriter } from '../store/log-writer.js'
import type { RoomName } from '../store/room-names.js'
import type { Stores } from '../store/stores.js'
import type { Tables } from '../store/tables.js'
import {
  forgetReceipt,
  keepReceipt,
  receiptsOverdue,
  receiptsWaitingFor,
  type EventOfRoom,
  type WaitingReceipt,
} from '../store/waiting-receipts.js'
import { takeReceipt, type Mark, type Taken } from './receipts.js'
import type { Rooms } from './rooms.js'

export interface WaitingReceiptsDeps {
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly rooms: Rooms
  readonly writer: Pick<LogWriter, 'write'>
  /** This server's name: nobody reads its events before they are here. */
  readonly serverName: string
  readonly logger: { error(fields: object, message: string): void }
  /** In ms. */
  readonly now: () => number
}

/** Of one round of what is left over. */
const AT_ONCE = 1_000

export class WaitingReceipts {
  private arrived: EventOfRoom[] = []
  private working: Promise<void> | undefined

  constructor(private readonly deps: WaitingReceiptsDeps) {}

  async take(name: RoomName, userId: string, mark: Mark): Promise<Taken> {
    const taken = await takeReceipt(this.deps, name, userId, mark)
    if (taken !== 'not here') return taken
    const { threadId = '', eventId, ts = this.deps.now() } = mark
    const waiting = { room: name.room, userId, threadId, eventId, ts }
    await keepReceipt(this.deps.db, waiting, this.deps.now())
    // Had the event come in between, nobody would look for the receipt.
    return this.takeWaiting(name, waiting)
  }

  /** Called for facts of the log that this process wrote. */
  follow(facts: readonly Fact[]): void {
    for (const fact of facts) {
      if (fact.kind !== 'event') continue
      const { eventId, sender } = fact.event.event
      if (serverNameOf(sender) !== this.deps.serverName) this.arrived.push({ room: fact.room, eventId })
    }
    if (this.arrived.length > 0) this.working ??= this.work()
  }

  /** When what has arrived is worked off. */
  async settled(): Promise<void> {
    await this.working
  }

  /** Those whose events are here all the same. */
  async takeOverdue(): Promise<void> {
    await this.takeAll(await receiptsOverdue(this.deps.db, AT_ONCE))
  }

  /** A receipt that is not taken because of a fault stays, and is overdue. */
  private async work(): Promise<void> {
    try {
      while (this.arrived.length > 0) {
        const arrived = this.arrived
        this.arrived = []
        await this.takeAll(await receiptsWaitingFor(this.deps.db, arrived))
      }
    } catch (cause) {
      this.deps.logger.error({ err: cause }, 'receipts that waited for their events were not taken')
    } finally {
      this.working = undefined
    }
  }

  private async takeAll(receipts: readonly WaitingReceipt[]): Promise<void> {
    const names = await this.deps.stores.names.names(receipts.map(({ room }) => room))
    for (const receipt of receipts) {
      const name = names.get(receipt.room)
      // Whoever has left meanwhile, or was never there when the members have come, reads nothing.
      if (name !== undefined && (await this.deps.rooms.takesPart(name, receipt.userId)))
        await this.takeWaiting(name, receipt)
      else await forgetReceipt(this.deps.db, receipt)
    }
  }

  private async takeWaiting(name: RoomName, receipt: WaitingReceipt): Promise<Taken> {
    const { userId, threadId, eventId, ts } = receipt
    const mark: Mark = { type: 'm.read', eventId, ts, ...(threadId === '' ? {} : { threadId }) }
    const taken = await takeReceipt(this.deps, name, userId, mark)
    if (taken !== 'not here') await forgetReceipt(this.deps.db, receipt)
    return taken
  }
}
