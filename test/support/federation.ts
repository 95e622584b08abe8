/**
 * Several Hearths that know each other by name, each on a database of its own, with TLS on loopback and certificates of a
 * test authority: `const [one, two] = await startFederation(2)`. They end after the tests.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { assemble } from '../../src/assemble.js'
import { readConfig } from '../../src/config.js'
import { Passwords } from '../../src/accounts/passwords.js'
import type { Services } from '../../src/client-server/services.js'
import { listen, type RunningServer } from '../../src/http/server.js'
import { silentLogger, type Logger } from '../../src/logger.js'
import { signingKeyFromSeed, type SigningKey } from '../../src/protocol/signing.js'
import { recordServer, serverRecord } from '../../src/store/server.js'
import { TestAuthority } from './certificates.js'
import { freePort } from './free-port.js'
import { testDatabase, type TestDatabase } from './postgres.js'
import { register, type TestUser } from './test-user.js'

const cheap = new Passwords({ memoryCost: 1_024, timeCost: 1, parallelism: 1 })

export interface FederatedServer {
  /** `localhost:PORT` */
  readonly name: string
  readonly key: SigningKey
  /** Plain HTTP, for clients. */
  readonly baseUrl: string
  readonly database: TestDatabase
  readonly services: Services
  user(name?: string): Promise<TestUser>
  /** Other servers find nobody at its name, until it is plugged in again. */
  unplug(): Promise<void>
  plug(): Promise<void>
  close(): Promise<void>
}

export interface FederationOptions {
  readonly environment?: Readonly<Record<string, string>>
  readonly log?: Logger
  /** Which they trust, where a test has servers of its own among them. */
  readonly authority?: TestAuthority
}

export async function startFederation(count: number, options: FederationOptions = {}): Promise<FederatedServer[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-federation-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const { authority = new TestAuthority() } = options
  const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  const { cert, key } = authority.issue('localhost', '127.0.0.1')
  writeFileSync(files.ca, authority.cert)
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  return Promise.all(Array.from({ length: count }, () => startOne(files, options)))
}

interface Files {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

async function startOne(files: Files, options: FederationOptions): Promise<FederatedServer> {
  const database = await testDatabase()
  const port = await freePort()
  const name = `localhost:${port}`
  const log = options.log ?? silentLogger
  const { config, secrets } = readConfig(
    {
      SERVER_NAME: name,
      REGISTRATION: 'open',
      RATE_LIMITS: 'off',
      PRESENCE: 'off',
      TRUSTED_CA_FILE: files.ca,
      OUTBOUND_ALLOW: 'all',
      ...options.environment,
    },
    { dotenv: '', folder: tmpdir(), terminal: false },
  )
  const signingKey = signingKeyFromSeed('test', randomBytes(32))
  await recordServer(database.db, {
    serverName: name,
    signingKeyId: signingKey.keyId,
    signingPublicKey: signingKey.publicKey,
    logEpoch: randomBytes(6).toString('hex'),
    stateIdentityKey: randomBytes(32),
    createdTs: Date.now(),
  })
  const stopping = new AbortController()
  const { app, services, close } = await assemble({
    config,
    secrets,
    database,
    identity: { record: (await serverRecord(database.db))!, signingKey },
    log,
    shuttingDown: stopping.signal,
    passwords: cheap,
  })
  const tls = { listen: { host: '127.0.0.1', port }, certFile: files.cert, keyFile: files.key }
  const plain = await listen(app, { host: '127.0.0.1', port: 0, logger: log })
  const listenSecure = () => listen(app, { ...tls.listen, tls, logger: log })
  let secure: RunningServer | undefined = await listenSecure()
  const baseUrl = `http://127.0.0.1:${plain.port}`
  const unplug = async () => {
    await secure?.close(0)
    secure = undefined
  }
  let closing: Promise<void> | undefined
  const end = async () => {
    stopping.abort()
    await unplug()
    await plain.close(1_000)
    await close()
  }
  const server: FederatedServer = {
    name,
    key: signingKey,
    baseUrl,
    database,
    services,
    user: (user = `user-${randomBytes(5).toString('hex')}`) => register(baseUrl, user),
    unplug,
    async plug() {
      secure ??= await listenSecure()
    },
    close: () => (closing ??= end()),
  }
  afterAll(() => server.close())
  return server
}
