import type { Kysely } from 'kysely'
import type { Accounts } from '../accounts/accounts.js'
import type { DeviceLists } from '../accounts/device-lists.js'
import type { InteractiveAuth } from '../accounts/interactive-auth.js'
import type { SharedSecretRegistration } from '../accounts/shared-secret.js'
import type { Config } from '../config.js'
import type { RemoteQueries } from '../federation/remote-queries.js'
import type { Backfill } from '../room/backfill.js'
import type { Gate } from '../room/gate.js'
import type { ProfileChanges } from '../room/profile-changes.js'
import type { Rooms } from '../room/rooms.js'
import type { LogWriter } from '../store/log-writer.js'
import type { Stores } from '../store/stores.js'
import type { Log } from '../store/log.js'
import type { Tables } from '../store/tables.js'
import type { Sync } from '../sync/sync.js'
import type { Typing } from '../sync/typing.js'

/** What handlers may take. `homeserver.ts` makes it. */
export interface Services {
  readonly config: Pick<Config, 'serverName' | 'publicBaseUrl' | 'registration'>
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly log: Log
  readonly writer: LogWriter
  readonly rooms: Rooms
  readonly gate: Gate
  /** Undefined while no other servers are asked for history. */
  readonly backfill?: Backfill | undefined
  readonly remoteQueries: RemoteQueries
  readonly sync: Sync
  readonly typing: Typing
  readonly profileChanges: ProfileChanges
  readonly deviceLists: DeviceLists
  readonly accounts: Accounts
  readonly interactiveAuth: InteractiveAuth
  /** Undefined without REGISTRATION_SHARED_SECRET. */
  readonly sharedSecretRegistration: SharedSecretRegistration | undefined
}
