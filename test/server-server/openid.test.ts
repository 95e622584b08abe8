import { describe, expect, it } from '@jest/globals'
import { makeOpenIdToken } from '../../src/accounts/openid-tokens.js'
import { deletions } from '../../src/store/clean-up.js'
import { startTestHomeserver } from '../support/homeserver.js'
import { serverApp } from '../support/server-app.js'
import { TestClient } from '../support/http.js'

const homeserver = await startTestHomeserver()
const asking = await serverApp(homeserver)
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const { db } = homeserver.database
const userInfo = (token: string) =>
  asking().get(`/_matrix/federation/v1/openid/userinfo?access_token=${encodeURIComponent(token)}`)
const request = (user: TestClient, userId: string) =>
  user.post(`/_matrix/client/v3/user/${encodeURIComponent(userId)}/openid/request_token`)

describe('an OpenID token', () => {
  it('tells another service whose it is, and is good for nothing else', async () => {
    const { status, body } = await request(alice, alice.userId)
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        access_token: expect.stringMatching(/^[\w-]{43}$/),
        token_type: 'Bearer',
        matrix_server_name: 'hearth.test',
        expires_in: 3600,
      },
    })
    expect((await userInfo(body.access_token)).body).toEqual({ sub: alice.userId })
    const stolen = new TestClient(homeserver.baseUrl, body.access_token)
    expect(await stolen.get('/_matrix/client/v3/account/whoami')).toMatchObject({
      status: 401,
      body: { errcode: 'M_UNKNOWN_TOKEN' },
    })
  })

  it('is made for oneself only', async () => {
    expect(await request(bob, alice.userId)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await request(new TestClient(homeserver.baseUrl), alice.userId)).toMatchObject({ status: 401 })
  })

  it('is not known when it is made up, an access token, or absent', async () => {
    for (const token of ['x', '', alice.accessToken!]) {
      expect(await userInfo(token)).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } })
    }
    expect(await asking().get('/_matrix/federation/v1/openid/userinfo')).toMatchObject({ status: 401 })
  })

  it('ends after an hour, and with its account', async () => {
    const hour = 3_600_000
    const old = await makeOpenIdToken(db, bob.userId, Date.now() - hour)
    const fresh = await makeOpenIdToken(db, bob.userId, Date.now() - hour + 60_000)
    expect((await userInfo(old)).status).toBe(401)
    expect((await userInfo(fresh)).body).toEqual({ sub: bob.userId })
    const deletion = deletions.find(({ table }) => table === 'openid_token')!
    expect(await db.transaction().execute((trx) => deletion.run(trx, 100, Date.now()))).toBe(1)
    expect((await userInfo(fresh)).status).toBe(200)
    await db.updateTable('account').set({ deactivated_ts: 1 }).where('user_id', '=', bob.userId).execute()
    expect((await userInfo(fresh)).status).toBe(401)
  })

  it('is kept as its hash', async () => {
    const { body } = await request(alice, alice.userId)
    const rows = await db.selectFrom('openid_token').selectAll().execute()
    expect(JSON.stringify(rows)).not.toContain(body.access_token)
  })
})
