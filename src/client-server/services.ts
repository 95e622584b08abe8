import type { Kysely } from 'kysely'
import type { Accounts } from '../accounts/accounts.js'
import type { DeviceLists } from '../accounts/device-lists.js'
import type { InteractiveAuth } from '../accounts/interactive-auth.js'
import type { SharedSecretRegistration } from '../accounts/shared-secret.js'
import type { Config } from '../config.js'
import type { IdentityServers } from '../federation/identity-servers.js'
import type { RemoteMemberships } from '../federation/joining/remote-memberships.js'
import type { RemoteDevices } from '../federation/remote-devices.js'
import type { RemoteQueries } from '../federation/remote-queries.js'
import type { OutgoingEdus } from '../federation/sender/outgoing-edus.js'
import type { Backfill } from '../room/backfill.js'
import type { Gate } from '../room/gate.js'
import type { ProfileChanges } from '../room/profile-changes.js'
import type { RoomPreviews } from '../room/room-previews.js'
import type { Rooms } from '../room/rooms.js'
import type { SpaceHierarchy } from '../room/space-hierarchy.js'
import type { LogWriter } from '../store/log-writer.js'
import type { Stores } from '../store/stores.js'
import type { Log } from '../store/log.js'
import type { Tables } from '../store/tables.js'
import type { Presences } from '../sync/presence.js'
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
  readonly previews: RoomPreviews
  readonly spaces: SpaceHierarchy
  /** Undefined while no other servers are asked for history. */
  readonly backfill?: Backfill | undefined
  readonly remoteQueries: RemoteQueries
  readonly memberships: RemoteMemberships
  readonly identityServers: Pick<IdentityServers, 'isValid' | 'lookUp' | 'keepInvite'>
  readonly remoteDevices: RemoteDevices
  readonly outgoingEdus: Pick<OutgoingEdus, 'wake'>
  readonly sync: Sync
  readonly typing: Typing
  /** Undefined with PRESENCE=off. */
  readonly presences?: Presences | undefined
  readonly profileChanges: ProfileChanges
  readonly deviceLists: DeviceLists
  readonly accounts: Accounts
  readonly interactiveAuth: InteractiveAuth
  /** Undefined without REGISTRATION_SHARED_SECRET. */
  readonly sharedSecretRegistration: SharedSecretRegistration | undefined
}
