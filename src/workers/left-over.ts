/**
 * Left over: tells what a process that died has committed and not told. Changes of devices that are not in the log, and
 * profiles that not all rooms have been told of, are rows (src/store/device-lists.ts, src/store/profiles.ts); so are receipts
 * whose events came without anybody looking for them (src/room/waiting-receipts.ts).
 *
 * Telling is idempotent, so there is no lease: if two processes, or this one and the request that is at it, tell the same,
 * a client asks for keys once more than it needs, and a room that has a profile gets nothing. Changes of devices are left
 * alone for a while, since a request that is under way tells its own.
 */
import type { Kysely } from 'kysely'
import type { DeviceLists } from '../accounts/device-lists.js'
import type { ProfileChanges } from '../room/profile-changes.js'
import type { WaitingReceipts } from '../room/waiting-receipts.js'
import { untoldProfiles } from '../store/profiles.js'
import type { Tables } from '../store/tables.js'
import { startLoop, type Loop } from './loop.js'

export interface LeftOverDeps {
  readonly db: Kysely<Tables>
  readonly deviceLists: DeviceLists
  readonly profileChanges: ProfileChanges
  readonly waitingReceipts: Pick<WaitingReceipts, 'takeOverdue'>
  readonly logger: { error(fields: object, message: string): void }
  /** In ms. */
  readonly now: () => number
}

export interface LeftOverConfig {
  /** How long a request may take to tell of its own change, in ms. */
  readonly patience: number
  /** Profiles of one round; each may be many rooms. */
  readonly profiles: number
  /** Between two rounds, in ms. */
  readonly pause: number
}

export const leftOverConfig: LeftOverConfig = { patience: 60_000, profiles: 20, pause: 60_000 }

/** One round. */
export async function tellLeftOver(deps: LeftOverDeps, config: LeftOverConfig, signal?: AbortSignal): Promise<void> {
  await deps.deviceLists.tellLeftOver(deps.now() - config.patience)
  await deps.waitingReceipts.takeOverdue()
  for (const userId of await untoldProfiles(deps.db, config.profiles)) {
    if (signal?.aborted === true) return
    await deps.profileChanges.tell(userId)
  }
}

export const startLeftOver = (deps: LeftOverDeps, config = leftOverConfig): Loop =>
  startLoop({
    name: 'left-over',
    pause: config.pause,
    logger: deps.logger,
    step: (signal) => tellLeftOver(deps, config, signal),
  })
