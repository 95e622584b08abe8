import { afterAll } from '@jest/globals'
import { unauthorized } from '../../src/protocol/matrix-error.js'
import { AccessTokens } from '../../src/accounts/access-tokens.js'
import { Accounts } from '../../src/accounts/accounts.js'
import { InteractiveAuth } from '../../src/accounts/interactive-auth.js'
import { PasswordGuesses } from '../../src/accounts/password-guesses.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { SharedSecretRegistration } from '../../src/accounts/shared-secret.js'
import { routes } from '../../src/client-server/routes.js'
import type { Services } from '../../src/client-server/services.js'
import type { Registration } from '../../src/config.js'
import { createApp } from '../../src/http/app.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { TestClient } from './http.js'
import type { TestDatabase } from './postgres.js'

export const SHARED_SECRET = 'a secret that is shared'

/** Argon2 at the least it can cost, so that tests do not wait for it. */
export const cheapPasswords = () => new Passwords({ memoryCost: 8, timeCost: 1, parallelism: 1 })

export interface AccountServer {
  readonly client: TestClient
  readonly accounts: Accounts
  /** User ids as they were told of. */
  readonly devicesChanged: string[]
  /** A user with the password `their NAME`, and a client that is logged in. */
  user(name: string): Promise<{ userId: string; deviceId: string; client: TestClient }>
}

/** A server of what concerns accounts alone, for the tests of a file; it has no rooms. */
export async function accountServer(
  { db }: TestDatabase,
  { registration = 'open' as Registration, rateLimits = false } = {},
): Promise<AccountServer> {
  const config = { serverName: 'example.org', publicBaseUrl: 'https://matrix.example.org', registration }
  const accessTokens = new AccessTokens({ db, logger: silentLogger })
  const devicesChanged: string[] = []
  const accounts = new Accounts({
    db,
    serverName: config.serverName,
    passwords: cheapPasswords(),
    guesses: new PasswordGuesses(rateLimits),
    accessTokens,
    onDevicesChanged: async (userId) => void devicesChanged.push(userId),
  })
  // Endpoints of other parts are in the list, too, and are not called here.
  const services = {
    config,
    db,
    accounts,
    interactiveAuth: new InteractiveAuth(db),
    sharedSecretRegistration: new SharedSecretRegistration(SHARED_SECRET),
  } as unknown as Services
  const app = createApp({
    endpoints: routes,
    services,
    authenticateServer: () => Promise.reject(unauthorized('No other server is known here')),
    authenticate: (token, ip) => accessTokens.authenticate(token, ip),
    rateLimits,
    trustedProxies: ['127.0.0.1'],
    shuttingDown: new AbortController().signal,
    logger: silentLogger,
  })
  const server = await listen(app, { host: '127.0.0.1', port: 0, logger: silentLogger })
  afterAll(() => server.close(0))

  const baseUrl = `http://127.0.0.1:${server.port}`
  return {
    client: new TestClient(baseUrl),
    accounts,
    devicesChanged,
    async user(name) {
      const login = { deviceId: undefined, displayName: undefined, ip: '127.0.0.1' }
      const made = await accounts.register({ localpart: name, password: `their ${name}`, login })
      if (made.login === undefined) throw new Error('was not logged in')
      const { userId, deviceId, accessToken } = made.login
      return { userId, deviceId, client: new TestClient(baseUrl, accessToken) }
    },
  }
}
