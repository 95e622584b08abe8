import type { Kysely } from 'kysely'
import type { Config } from '../config.js'
import type { BoundInvites } from '../federation/bound-invites.js'
import type { IdentityServers } from '../federation/identity-servers.js'
import type { RemoteMemberships } from '../federation/joining/remote-memberships.js'
import type { Notary } from '../federation/server-keys-notary.js'
import type { OwnKeys } from '../federation/server-keys-own.js'
import type { Gate } from '../room/gate.js'
import type { Inbound } from '../room/inbound/inbound.js'
import type { ReceivedTransactions } from '../room/inbound/received-transactions.js'
import type { RoomPreviews } from '../room/room-previews.js'
import type { Rooms } from '../room/rooms.js'
import type { ServerAcls } from '../room/server-acls.js'
import type { StatesForJoiners } from '../room/state-for-joiner.js'
import type { ReceivedInvites } from '../room/received-invites.js'
import type { StatesForServers } from '../room/states-for-servers.js'
import type { ServerIdentity } from '../server-identity.js'
import type { LogWriter } from '../store/log-writer.js'
import type { Stores } from '../store/stores.js'
import type { Tables } from '../store/tables.js'

/** What handlers of other servers' requests may take. `assemble.ts` makes it. */
export interface ServerServices {
  readonly config: Pick<Config, 'serverName' | 'publicBaseUrl'>
  readonly identity: ServerIdentity
  readonly db: Kysely<Tables>
  readonly ownKeys: OwnKeys
  readonly notary: Notary
  readonly stores: Stores
  readonly writer: LogWriter
  readonly rooms: Rooms
  readonly gate: Gate
  readonly acls: ServerAcls
  readonly previews: RoomPreviews
  readonly inbound: Inbound
  readonly transactions: ReceivedTransactions
  readonly statesForServers: StatesForServers
  readonly statesForJoiners: StatesForJoiners
  readonly receivedInvites: ReceivedInvites
  readonly boundInvites: BoundInvites
  readonly memberships: Pick<RemoteMemberships, 'invite'>
  readonly identityServers: Pick<IdentityServers, 'isValid'>
}
