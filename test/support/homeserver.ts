import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { afterAll } from '@jest/globals'
import { assemble } from '../../src/assemble.js'
import type { Services } from '../../src/client-server/services.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { readConfig } from '../../src/config.js'
import type { Remote } from '../../src/federation/remote.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { recordServer, serverRecord } from '../../src/store/server.js'
import { testDatabase, type TestDatabase } from './postgres.js'
import { testServer } from './rooms.js'
import { ScriptedRemote } from './scripted-remote.js'
import { register, type TestUser } from './test-user.js'

export { TestUser } from './test-user.js'

/** Cheap on purpose: what argon2 costs is tested where passwords are. */
const cheap = new Passwords({ memoryCost: 1_024, timeCost: 1, parallelism: 1 })

export interface TestHomeserver {
  readonly baseUrl: string
  readonly database: TestDatabase
  readonly services: Services
  /** Registers a user and logs in. The name is made unique when none is given. */
  user(name?: string): Promise<TestUser>
  close(): Promise<void>
}

export interface TestHomeserverOptions {
  readonly environment?: Readonly<Record<string, string>>
  /** Another process on the same database. */
  readonly database?: TestDatabase
  /** Other servers, by a script. */
  readonly remote?: Remote
}

/** A whole server in this process on a database of its own; call it once at the top of a file. It ends after the tests. */
export async function startTestHomeserver(options: TestHomeserverOptions = {}): Promise<TestHomeserver> {
  const database = options.database ?? (await testDatabase())
  const { config, secrets } = readConfig(
    { SERVER_NAME: testServer.name, REGISTRATION: 'open', RATE_LIMITS: 'off', PRESENCE: 'off', ...options.environment },
    { dotenv: '', folder: tmpdir(), terminal: false },
  )
  await recordServer(database.db, {
    serverName: testServer.name,
    signingKeyId: testServer.key.keyId,
    signingPublicKey: testServer.key.publicKey,
    logEpoch: randomBytes(6).toString('hex'),
    stateIdentityKey: randomBytes(32),
    createdTs: Date.now(),
  })
  const record = (await serverRecord(database.db))!
  const stopping = new AbortController()
  const { app, services, close } = await assemble({
    config,
    secrets,
    database,
    identity: { record, signingKey: testServer.key },
    log: silentLogger,
    shuttingDown: stopping.signal,
    passwords: cheap,
    // Nobody is there, unless a test says so: none of them asks the internet.
    remote: options.remote ?? new ScriptedRemote(),
  })
  const server = await listen(app, { host: '127.0.0.1', port: 0, logger: silentLogger })
  const baseUrl = `http://127.0.0.1:${server.port}`
  let closing: Promise<void> | undefined
  const end = async () => {
    stopping.abort()
    await server.close(1_000)
    await close()
  }
  const homeserver: TestHomeserver = {
    baseUrl,
    database,
    services,
    user: (name = `user-${randomBytes(5).toString('hex')}`) => register(baseUrl, name),
    close: () => (closing ??= end()),
  }
  afterAll(() => homeserver.close())
  return homeserver
}
