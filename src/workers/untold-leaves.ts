/**
 * Untold leaves: begins to tell other servers of the leaves that none of them has taken yet (src/federation/joining). Taking
 * one puts its next attempt off, so several processes may do it; a leave that is told twice is refused the second time.
 */
import type { RemoteMemberships } from '../federation/joining/remote-memberships.js'
import { startLoop, type Loop } from './loop.js'

export interface UntoldLeavesLoopDeps {
  readonly memberships: Pick<RemoteMemberships, 'poll'>
  readonly logger: { error(fields: object, message: string): void }
}

/** In ms. */
const PAUSE = 30_000

export const startUntoldLeaves = ({ memberships, logger }: UntoldLeavesLoopDeps, pause = PAUSE): Loop =>
  startLoop({ name: 'untold-leaves', pause, logger, step: () => memberships.poll() })
