/**
 * The server among other servers: how they are found and asked, what they may ask, what comes from them and what goes to
 * them. Built on the room engine by `assemble.ts`.
 */
import type { DeviceLists } from './accounts/device-lists.js'
import type { Config } from './config.js'
import { Addresses } from './federation/addresses.js'
import { BoundInvites } from './federation/bound-invites.js'
import { anyFraction, Discovery } from './federation/discovery.js'
import { IncomingEdus } from './federation/edus/incoming-edus.js'
import { FederationClient } from './federation/federation-client.js'
import { FederationPeers } from './federation/federation-peers.js'
import { IdentityServers } from './federation/identity-servers.js'
import { RemoteMemberships } from './federation/joining/remote-memberships.js'
import { OutboundHttp } from './federation/outbound-http.js'
import { RemoteQueries } from './federation/remote-queries.js'
import type { Remote } from './federation/remote.js'
import { RequestAuth } from './federation/request-auth.js'
import { OutgoingEdus } from './federation/sender/outgoing-edus.js'
import { FederationSender } from './federation/sender/sender.js'
import { Notary } from './federation/server-keys-notary.js'
import { OwnKeys } from './federation/server-keys-own.js'
import { ServerKeys } from './federation/server-keys.js'
import type { Logger } from './logger.js'
import { PeerBackfill } from './room/inbound/backfill.js'
import { Inbound } from './room/inbound/inbound.js'
import { PartialJoins } from './room/inbound/partial-joins.js'
import { ReceivedTransactions } from './room/inbound/received-transactions.js'
import type { RoomEngine } from './room/open-rooms.js'
import { ReceivedInvites } from './room/received-invites.js'
import { WaitingReceipts } from './room/waiting-receipts.js'
import { StatesForJoiners } from './room/state-for-joiner.js'
import { StatesForServers } from './room/states-for-servers.js'
import type { ServerIdentity } from './server-identity.js'
import type { ServerServices } from './server-server/services.js'
import type { Database } from './store/database.js'
import type { Presences } from './sync/presence.js'
import type { Typing } from './sync/typing.js'
import { startFederationSender } from './workers/federation-sender.js'
import { startInbound } from './workers/inbound.js'
import { startUntoldLeaves } from './workers/untold-leaves.js'
import { startPartialJoins } from './workers/partial-joins.js'

export interface FederationParts {
  readonly config: Config
  readonly db: Database['db']
  readonly identity: ServerIdentity
  readonly log: Logger
  readonly engine: RoomEngine
  readonly typing: Typing
  readonly presences: Presences | undefined
  readonly deviceLists: DeviceLists
  /** Other servers, as tests script them. */
  readonly remote: Remote | undefined
}

export interface Federation {
  readonly remote: Remote
  readonly identityServers: IdentityServers
  readonly queries: RemoteQueries
  readonly memberships: RemoteMemberships
  readonly backfill: PeerBackfill
  readonly sender: FederationSender
  readonly outgoingEdus: OutgoingEdus
  readonly waitingReceipts: WaitingReceipts
  readonly requestAuth: RequestAuth
  readonly services: ServerServices
  /** Requests under way are given up; what is not decided, or not sent, is so at the next start. */
  close(): Promise<void>
}

export function assembleFederation(parts: FederationParts): Federation {
  const { config, db, identity, log: logger, engine, typing, presences, deviceLists } = parts
  const { stores, writer, rooms, gate, acls, processName: holder } = engine
  const { serverName } = config
  const { signingKey } = identity
  const now = Date.now

  const http = httpOf(config)
  const remote = parts.remote ?? clientOf(config, identity, http)
  const identityServers = new IdentityServers(http)
  const { keyNotaries: notaries } = config
  const serverKeys = new ServerKeys({ db, remote, now, logger, serverName, signingKey, notaries })
  const ownKeys = new OwnKeys({ db, now, serverName, signingKey })
  const peers = new FederationPeers(remote, serverKeys)
  const inbound = new Inbound({ db, stores, rooms, peers, acls, serverName, logger, holder })
  const partialJoins = new PartialJoins(inbound.deps, holder)
  rooms.policies = inbound.deps.policies
  const sender = new FederationSender({ db, stores, serverName, remote, logger, random: anyFraction, holder })
  const receipts = new WaitingReceipts({ db, stores, rooms, writer, serverName, logger, now })
  const edus = new IncomingEdus({
    db,
    stores,
    rooms,
    acls,
    writer,
    entrances: inbound.deps.entrances,
    receipts,
    typing,
    presences,
    deviceLists,
    serverName,
    logger,
    now,
  })
  const queries = new RemoteQueries({ remote, rooms })
  const memberships = new RemoteMemberships({ remote, queries, identityServers, inbound: inbound.deps, partialJoins })
  const { rateLimits } = config.http
  const outgoingEdus = new OutgoingEdus({ db, rooms, serverName, sender, logger })
  const workers = [
    startInbound({ inbound, logger }),
    startPartialJoins({ partialJoins, logger }),
    startFederationSender({ sender, logger }),
    startUntoldLeaves({ memberships, logger }),
  ]
  engine.log.subscribe((facts, origin) => {
    if (origin === 'here') {
      sender.follow(facts)
      receipts.follow(facts)
    }
    outgoingEdus.follow(facts, origin)
  })
  typing.watch((room, userId, isTyping) => outgoingEdus.typing(room, userId, isTyping))
  if (config.presence === 'federated') presences?.watch((userIds) => outgoingEdus.presence(presences, userIds))
  const requestAuth = new RequestAuth({ serverName, serverKeys, now, onHeard: (server) => sender.heard(server) })
  return {
    remote,
    identityServers,
    queries,
    memberships,
    backfill: new PeerBackfill(inbound.deps),
    sender,
    outgoingEdus,
    waitingReceipts: receipts,
    requestAuth,
    services: {
      config,
      identity,
      db,
      ownKeys,
      notary: new Notary(serverKeys, ownKeys),
      stores,
      writer,
      rooms,
      gate,
      acls,
      previews: engine.previews,
      inbound,
      transactions: new ReceivedTransactions({ db, inbound, edus, logger, now }),
      statesForServers: new StatesForServers({ stores, gate, acls }),
      statesForJoiners: new StatesForJoiners(rooms),
      receivedInvites: new ReceivedInvites(inbound, { rateLimits }),
      boundInvites: new BoundInvites({ db, memberships, logger, rateLimits }),
      memberships,
      identityServers,
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.stop()))
      await outgoingEdus.settled()
      await Promise.all([
        sender.close(),
        inbound.close(),
        partialJoins.close(),
        serverKeys.close(),
        memberships.close(),
        requestAuth.close(),
      ])
      await receipts.settled()
      await http.close()
    },
  }
}

const httpOf = ({ outbound }: Config): OutboundHttp =>
  new OutboundHttp({ addresses: new Addresses(outbound.allow), trustedCaFile: outbound.trustedCaFile })

const clientOf = ({ serverName }: Config, { signingKey }: ServerIdentity, http: OutboundHttp): FederationClient =>
  new FederationClient({ serverName, signingKey, http, discovery: new Discovery({ http }) })
