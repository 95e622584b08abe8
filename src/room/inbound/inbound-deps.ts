import type { Kysely } from 'kysely'
import type { HeldEvent, WantedEvents } from '../../store/held-events.js'
import type { EndedPdus } from '../../store/staged-pdus.js'
import type { Stores } from '../../store/stores.js'
import type { Tables } from '../../store/tables.js'
import type { Together } from '../../together.js'
import type { Rooms } from '../rooms.js'
import type { ServerAcls } from '../server-acls.js'
import type { Asking, BudgetLimits } from './asking.js'
import type { Counters } from './counters.js'
import type { Entrances } from './entrances.js'
import type { PolicyServers } from './policy.js'

/** What the parts of receiving PDUs stand on. */
export interface InboundDeps {
  readonly db: Kysely<Tables>
  /** What this server holds of events; rooms that are worked off side by side ask together. */
  readonly held: Together<WantedEvents, ReadonlyMap<string, HeldEvent>>
  /** Ends waiting for events. */
  readonly ended: Together<EndedPdus, boolean>
  readonly stores: Stores
  readonly rooms: Rooms
  readonly acls: ServerAcls
  readonly asking: Asking
  readonly policies: PolicyServers
  readonly counters: Counters
  readonly entrances: Entrances
  readonly budget: BudgetLimits
  /** This server's name. */
  readonly serverName: string
  /** In ms. */
  readonly now: () => number
  readonly logger: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
    error(fields: object, message: string): void
  }
}
