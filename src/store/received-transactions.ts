/** Answers to transactions of other servers, for those that did not get them and send the same again. Kept for a day. */
import { hash } from 'node:crypto'
import type { Kysely } from 'kysely'

export interface ReceivedTransactionTables {
  received_transaction: { origin: string; key: Buffer; answer: string; created_ts: number }
}

type Db = Kysely<ReceivedTransactionTables>

const keyOf = (transactionId: string): Buffer => hash('sha256', transactionId, 'buffer').subarray(0, 16)

export async function answerTo(db: Db, origin: string, transactionId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('received_transaction')
    .select('answer')
    .where('origin', '=', origin)
    .where('key', '=', keyOf(transactionId))
    .executeTakeFirst()
  return row?.answer
}

/** The first answer stays. */
export async function rememberAnswer(
  db: Db,
  { origin, transactionId, answer, nowTs }: { origin: string; transactionId: string; answer: string; nowTs: number },
): Promise<void> {
  await db
    .insertInto('received_transaction')
    .values({ origin, key: keyOf(transactionId), answer, created_ts: nowTs })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}
