/**
 * Partial joins: looks for rooms whose members are still to be fetched (src/room/inbound/partial-joins.ts): what processes
 * that died left behind, and those whose next attempt is due. A join wakes it at once.
 */
import type { PartialJoins } from '../room/inbound/partial-joins.js'
import { startLoop, type Loop } from './loop.js'

export interface PartialJoinsLoopDeps {
  readonly partialJoins: Pick<PartialJoins, 'poll'>
  readonly logger: { error(fields: object, message: string): void }
}

/** In ms. */
const PAUSE = 2_000

export const startPartialJoins = ({ partialJoins, logger }: PartialJoinsLoopDeps, pause = PAUSE): Loop =>
  startLoop({ name: 'partial-joins', pause, logger, step: () => partialJoins.poll() })
