import { beforeEach, describe, expect, it } from '@jest/globals'
import { AccessTokens } from '../../src/accounts/access-tokens.js'
import { Accounts } from '../../src/accounts/accounts.js'
import { PasswordGuesses } from '../../src/accounts/password-guesses.js'
import { silentLogger } from '../../src/logger.js'
import { cheapPasswords } from '../support/account-server.js'
import { testDatabase } from '../support/postgres.js'

const { db, pool } = await testDatabase()

let now = 0
let statements = 0
pool.on('connect', (client) => {
  const query = client.query.bind(client) as (...args: unknown[]) => never
  client.query = ((...args: unknown[]) => {
    statements += 1
    return query(...args)
  }) as typeof client.query
})

function process() {
  const accessTokens = new AccessTokens({ db, logger: silentLogger, monotonic: () => now, nowTs: () => 1e12 + now })
  const guesses = new PasswordGuesses(false)
  return {
    accessTokens,
    accounts: new Accounts({ db, serverName: 'a.org', passwords: cheapPasswords(), guesses, accessTokens }),
  }
}

let users = 0
async function loggedIn(accounts: Accounts) {
  const localpart = `user${users++}`
  const { login } = await accounts.register({ localpart, password: 'x', login: { ip: '192.0.2.1' } })
  return login!
}

/** Tries until it holds: for what a statement does that nobody waits for. */
async function eventually(holds: () => Promise<void>): Promise<void> {
  for (let turn = 0; ; turn++) {
    try {
      return await holds()
    } catch (cause) {
      if (turn === 500) throw cause
      await db.selectFrom('account').select('user_id').execute()
    }
  }
}

describe('access tokens', () => {
  const here = process()
  const there = process()

  beforeEach(() => {
    now += 1e6
  })

  it('cost one statement, then none while they are fresh', async () => {
    const { accessToken, userId } = await loggedIn(here.accounts)
    await Promise.all(Array.from({ length: 10 }, async () => here.accessTokens.authenticate(accessToken, '192.0.2.1')))
    const before = statements
    now += 2_900
    expect(here.accessTokens.authenticate(accessToken, '192.0.2.1')).toMatchObject({ userId })
    expect(statements).toBe(before)
  })

  it('end at once in the process that logs out', async () => {
    const { accessToken } = await loggedIn(here.accounts)
    const requester = await here.accessTokens.authenticate(accessToken, '192.0.2.1')
    await here.accounts.logOut(requester)
    await expect(async () => here.accessTokens.authenticate(accessToken, '192.0.2.1')).rejects.toMatchObject({
      errcode: 'M_UNKNOWN_TOKEN',
    })
  })

  it('end within seconds in other processes', async () => {
    const { accessToken } = await loggedIn(here.accounts)
    const requester = await there.accessTokens.authenticate(accessToken, '192.0.2.1')
    await here.accounts.logOut(requester)
    // Stale: taken, and read again meanwhile.
    now += 3_001
    expect(there.accessTokens.authenticate(accessToken, '192.0.2.1')).toMatchObject({ userId: requester.userId })
    await eventually(() =>
      expect(async () => there.accessTokens.authenticate(accessToken, '192.0.2.1')).rejects.toMatchObject({
        status: 401,
      }),
    )
  })

  it('are read first when they were not used for long', async () => {
    const { accessToken } = await loggedIn(here.accounts)
    const requester = await there.accessTokens.authenticate(accessToken, '192.0.2.1')
    await here.accounts.logOut(requester)
    now += 15_001
    await expect(there.accessTokens.authenticate(accessToken, '192.0.2.1')).rejects.toMatchObject({ status: 401 })
  })

  it('that were revoked while they were read are not kept', async () => {
    const { accessToken, userId } = await loggedIn(here.accounts)
    const read = here.accessTokens.authenticate(accessToken, '192.0.2.1')
    await here.accounts.deleteDevices(userId)
    await Promise.allSettled([read])
    await expect(async () => here.accessTokens.authenticate(accessToken, '192.0.2.1')).rejects.toMatchObject({
      status: 401,
    })
  })

  it('note when and from where their device was seen, every five minutes at most', async () => {
    const { accessToken, userId } = await loggedIn(here.accounts)
    const seen = async () => (await here.accounts.devices(userId))[0]
    now = Date.now() - 1e12
    await here.accessTokens.authenticate(accessToken, '192.0.2.7')
    now += 5 * 60_000 + 1000
    const lastSeenTs = 1e12 + now
    await here.accessTokens.authenticate(accessToken, '192.0.2.8')
    await eventually(async () => expect(await seen()).toMatchObject({ lastSeenIp: '192.0.2.8', lastSeenTs }))
    now += 60_000
    await here.accessTokens.authenticate(accessToken, '192.0.2.9')
    expect(await seen()).toMatchObject({ lastSeenIp: '192.0.2.8', lastSeenTs })
  })
})
