/**
 * Inbound: looks for staged PDUs that nobody was woken for (src/room/inbound): of processes that died, of rooms whose
 * lease another process lost, and those whose next attempt is due. Rooms are worked off by the inbound itself; this only
 * wakes them, so a lost wake-up costs a pause and never an event.
 */
import type { Inbound } from '../room/inbound/inbound.js'
import { startLoop, type Loop } from './loop.js'

export interface InboundLoopDeps {
  readonly inbound: Inbound
  readonly logger: { error(fields: object, message: string): void }
}

/** In ms. */
const PAUSE = 2_000

export const startInbound = ({ inbound, logger }: InboundLoopDeps, pause = PAUSE): Loop =>
  startLoop({ name: 'inbound', pause, logger, step: () => inbound.poll() })
