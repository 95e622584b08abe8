/**
 * Federation sender: looks for what nobody was woken for (src/federation/sender): what processes that died left behind,
 * and destinations whose next attempt is due. A wake-up that is lost costs a pause and never an event.
 */
import type { FederationSender } from '../federation/sender/sender.js'
import { startLoop, type Loop } from './loop.js'

export interface FederationSenderLoopDeps {
  readonly sender: FederationSender
  readonly logger: { error(fields: object, message: string): void }
}

/** In ms. The first attempts after a failure are not much further apart. */
const PAUSE = 2_000

export const startFederationSender = ({ sender, logger }: FederationSenderLoopDeps, pause = PAUSE): Loop =>
  startLoop({ name: 'federation-sender', pause, logger, step: () => sender.poll() })
