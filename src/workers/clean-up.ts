/**
 * Clean-up: deletes rows whose time is over (src/store/clean-up.ts lists them, the comments of the schema say when).
 *
 * Rows go in batches, a transaction each, so that nothing waits long for a lock, and a process that dies in between has
 * done what it has done. Whoever holds the advisory lock of the transaction cleans up; other processes that try meanwhile
 * do nothing and come again with their next round. Nothing depends on when a row goes: every reader of these tables asks
 * for what is still valid.
 */
import type { Kysely } from 'kysely'
import { deletions, takeCleanUp, type Deletion } from '../store/clean-up.js'
import type { Tables } from '../store/tables.js'
import { startLoop, type Loop } from './loop.js'

export interface CleanUpDeps {
  readonly db: Kysely<Tables>
  readonly logger: {
    info(fields: object, message: string): void
    error(fields: object, message: string): void
  }
  /** In ms. */
  readonly now: () => number
}

export interface CleanUpConfig {
  /** Rows of one transaction: some tens of milliseconds. */
  readonly batch: number
  /** Between two rounds, in ms. Tables hold so much more than they need. */
  readonly pause: number
}

export const cleanUpConfig: CleanUpConfig = { batch: 5_000, pause: 10 * 60_000 }

/** One round over all tables. Returns how many rows went. */
export async function cleanUp(deps: CleanUpDeps, config: CleanUpConfig, signal?: AbortSignal): Promise<number> {
  let total = 0
  for (const deletion of deletions) {
    const rows = await deleteAll(deps, config.batch, deletion, signal)
    if (rows > 0) deps.logger.info({ table: deletion.table, rows }, 'cleaned up')
    total += rows
  }
  return total
}

async function deleteAll(
  { db, now }: CleanUpDeps,
  batch: number,
  deletion: Deletion,
  signal: AbortSignal | undefined,
): Promise<number> {
  let total = 0
  while (signal?.aborted !== true) {
    const rows = await db
      .transaction()
      .execute(async (trx) => ((await takeCleanUp(trx)) ? deletion.run(trx, batch, now()) : 0))
    total += rows
    if (rows < batch) break
  }
  return total
}

export const startCleanUp = (deps: CleanUpDeps, config = cleanUpConfig): Loop =>
  startLoop({
    name: 'clean-up',
    pause: config.pause,
    logger: deps.logger,
    step: async (signal) => void (await cleanUp(deps, config, signal)),
  })
