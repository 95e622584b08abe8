/**
 * The server without its sockets: what stands on a database, built in the order in which the parts stand on each other.
 * `homeserver.ts` opens the database and listens; the tests do both in their own way.
 */
import type { Express } from 'express'
import { AccessTokens } from './accounts/access-tokens.js'
import { Accounts } from './accounts/accounts.js'
import { DeviceLists } from './accounts/device-lists.js'
import { InteractiveAuth } from './accounts/interactive-auth.js'
import { PasswordGuesses } from './accounts/password-guesses.js'
import { Passwords } from './accounts/passwords.js'
import { SharedSecretRegistration } from './accounts/shared-secret.js'
import { assembleFederation } from './assemble-federation.js'
import { routes } from './client-server/routes.js'
import type { Services } from './client-server/services.js'
import type { Config, Secrets } from './config.js'
import { RemoteDevices } from './federation/remote-devices.js'
import type { Remote } from './federation/remote.js'
import { createApp } from './http/app.js'
import { AskedSpaces } from './federation/remote-spaces.js'
import type { Logger } from './logger.js'
import { openRooms } from './room/open-rooms.js'
import { ProfileChanges } from './room/profile-changes.js'
import { SpaceHierarchy } from './room/space-hierarchy.js'
import { routes as serverRoutes } from './server-server/routes.js'
import type { ServerServices } from './server-server/services.js'
import type { ServerIdentity } from './server-identity.js'
import type { Database } from './store/database.js'
import { usersSeenLast } from './store/devices.js'
import { Presences } from './sync/presence.js'
import { Sync } from './sync/sync.js'
import { Typing } from './sync/typing.js'
import { startCleanUp } from './workers/clean-up.js'
import { startLeftOver } from './workers/left-over.js'
import { startRemoteDevices } from './workers/remote-devices.js'

export interface Parts {
  readonly config: Config
  readonly secrets: Secrets
  readonly database: Database
  readonly identity: ServerIdentity
  readonly log: Logger
  /** Aborted when the server begins to stop. */
  readonly shuttingDown: AbortSignal
  readonly passwords?: Passwords
  /** Other servers, as tests script them. */
  readonly remote?: Remote
}

export interface Assembled {
  readonly app: Express
  readonly services: Services
  /** After the last request: what waits for the log writer is written. */
  close(): Promise<void>
}

/** Who was there before a restart: seen within so many ms, where devices are noted every five minutes, and so many of them. */
const RECENTLY = 10 * 60_000
const MOST_RECALLED = 2_000

export async function assemble(parts: Parts): Promise<Assembled> {
  const { config, secrets, database, identity, log } = parts
  const { db } = database
  const engine = await openRooms({
    db,
    connect: () => database.connect(),
    server: { name: config.serverName, key: identity.signingKey },
    identityKey: identity.record.stateIdentityKey,
    cacheMb: config.cacheMb,
    logger: log,
  })

  const deviceLists = new DeviceLists(db, engine.writer, (users) => federation.outgoingEdus.deviceListsChanged(users))
  const profileChanges = new ProfileChanges({ db, rooms: engine.rooms, logger: log })
  const accessTokens = new AccessTokens({ db, logger: log })
  const accounts = new Accounts({
    db,
    serverName: config.serverName,
    passwords: parts.passwords ?? new Passwords(),
    guesses: new PasswordGuesses(config.http.rateLimits),
    accessTokens,
    onDevicesChanged: (userId) => deviceLists.changed(userId),
  })
  const { registrationSharedSecret } = secrets

  const typing = new Typing()
  const presences = config.presence === 'off' ? undefined : new Presences()
  if (presences !== undefined) presences.recall(await usersSeenLast(db, RECENTLY, MOST_RECALLED))
  const sync = new Sync({ db, ...engine, typing, presences, epoch: identity.record.logEpoch })
  const federation = assembleFederation({ ...parts, db, engine, typing, presences, deviceLists, remote: parts.remote })
  const { remote } = federation
  const worker = { db, logger: log, now: Date.now }
  const remoteDevices = new RemoteDevices({
    ...worker,
    log: engine.log,
    remote,
    serverName: config.serverName,
    deviceLists,
  })
  const services: Services = {
    config,
    db,
    stores: engine.stores,
    log: engine.log,
    writer: engine.writer,
    rooms: engine.rooms,
    gate: engine.gate,
    previews: engine.previews,
    spaces: new SpaceHierarchy({ ...engine, remote: new AskedSpaces(remote, config.serverName) }),
    remoteQueries: federation.queries,
    memberships: federation.memberships,
    identityServers: federation.identityServers,
    backfill: federation.backfill,
    remoteDevices,
    outgoingEdus: federation.outgoingEdus,
    sync,
    typing,
    presences,
    accounts,
    deviceLists,
    profileChanges,
    interactiveAuth: new InteractiveAuth(db),
    sharedSecretRegistration:
      registrationSharedSecret === undefined ? undefined : new SharedSecretRegistration(registrationSharedSecret),
  }
  const app = createApp<Services & ServerServices>({
    endpoints: [...routes, ...serverRoutes],
    services: { ...federation.services, ...services },
    authenticateServer: (request) => federation.requestAuth.authenticate(request),
    authenticate: (token, ip) => accessTokens.authenticate(token, ip),
    rateLimits: config.http.rateLimits,
    trustedProxies: config.http.trustedProxies,
    shuttingDown: parts.shuttingDown,
    logger: log,
  })
  const workers = [
    startCleanUp(worker),
    startLeftOver({ ...worker, deviceLists, profileChanges, waitingReceipts: federation.waitingReceipts }),
    startRemoteDevices({ ...worker, remoteDevices }),
  ]
  return {
    app,
    services,
    async close() {
      sync.close()
      await Promise.all([profileChanges.close(), ...workers.map((one) => one.stop())])
      await Promise.all([federation.close(), remoteDevices.settled()])
      await engine.close()
    },
  }
}
