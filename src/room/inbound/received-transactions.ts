/**
 * Transactions of other servers, each once: whoever sends one again because our answer was lost gets that answer.
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */
import type { Kysely } from 'kysely'
import type { JsonObject } from '../../protocol/json.js'
import { answerTo, rememberAnswer } from '../../store/received-transactions.js'
import type { Tables } from '../../store/tables.js'
import { isUnavailable } from '../../store/unavailable.js'
import { patienceForEntrances } from './entrances.js'
import type { Inbound } from './inbound.js'
import type { PduText } from './peers.js'

export interface Edus {
  /**
   * Takes EDUs of a server whose signature was verified. One that is of no use is left out, and no error. `patience`:
   * with rooms that are being entered.
   */
  take(origin: string, edus: readonly JsonObject[], patience: AbortSignal): Promise<void>
}

export interface ReceivedTransactionsDeps {
  readonly db: Kysely<Tables>
  readonly inbound: Pick<Inbound, 'transaction'>
  /** Without it EDUs are passed over. */
  readonly edus?: Edus | undefined
  readonly logger: { error(fields: object, message: string): void }
  /** In ms. */
  readonly now: () => number
}

export interface TransactionContent {
  readonly pdus: readonly PduText[]
  readonly edus: readonly JsonObject[]
}

export class ReceivedTransactions {
  private readonly underWay = new Map<string, Promise<string>>()

  constructor(private readonly deps: ReceivedTransactionsDeps) {}

  /** The answer, as JSON. `read` is asked only for a transaction that was not taken before. */
  async take(origin: string, transactionId: string, read: () => TransactionContent): Promise<string> {
    const key = `${origin} ${transactionId}`
    const underWay = this.underWay.get(key)
    if (underWay !== undefined) return underWay
    const answer = this.answer(origin, transactionId, read)
    this.underWay.set(key, answer)
    try {
      return await answer
    } finally {
      this.underWay.delete(key)
    }
  }

  /**
   * The answer is remembered last. What fails before it is sent again: PDUs that are staged, and messages to devices that
   * were taken, are known then.
   */
  private async answer(origin: string, transactionId: string, read: () => TransactionContent): Promise<string> {
    const { db, inbound, now } = this.deps
    const known = await answerTo(db, origin, transactionId)
    if (known !== undefined) return known
    const { pdus, edus } = read()
    const patience = patienceForEntrances()
    const answer = JSON.stringify({ pdus: await inbound.transaction(origin, pdus, patience) })
    await this.takeEdus(origin, edus, patience)
    await rememberAnswer(db, { origin, transactionId, answer, nowTs: now() })
    return answer
  }

  /** A fault of ours must not be met again with every retry, which would end all that comes from that server. */
  private async takeEdus(origin: string, edus: readonly JsonObject[], patience: AbortSignal): Promise<void> {
    if (edus.length === 0) return
    try {
      await this.deps.edus?.take(origin, edus, patience)
    } catch (cause) {
      if (isUnavailable(cause)) throw cause
      this.deps.logger.error({ err: cause, origin }, 'EDUs of a transaction were not taken')
    }
  }
}
