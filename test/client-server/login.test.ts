import { describe, expect, it } from '@jest/globals'
import { accountServer } from '../support/account-server.js'
import { TestClient } from '../support/http.js'
import { testDatabase } from '../support/postgres.js'

const database = await testDatabase()
const { client, user, accounts } = await accountServer(database)
const { db } = database

const password = (user: string, text: string) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password: text,
})
const login = (body: object) => client.post('/_matrix/client/v3/login', body)

describe('log-in', () => {
  it('is offered by password', async () => {
    expect((await client.get('/_matrix/client/v3/login')).body).toEqual({ flows: [{ type: 'm.login.password' }] })
  })

  it('takes a localpart, a user id, capitals, and the field of old clients', async () => {
    const { userId } = await user('alice')
    for (const name of ['alice', '@alice:example.org', 'Alice', '@ALICE:example.org']) {
      const { status, body } = await login(password(name, 'their alice'))
      expect([status, body.user_id]).toEqual([200, userId])
      const whoami = await new TestClient(client.baseUrl, body.access_token).get('/_matrix/client/v3/account/whoami')
      expect(whoami.body).toEqual({ user_id: userId, device_id: body.device_id, is_guest: false })
    }
    expect((await login({ type: 'm.login.password', user: 'alice', password: 'their alice' })).status).toBe(200)
    expect((await client.post('/_matrix/client/r0/login', password('alice', 'their alice'))).status).toBe(200)
  })

  it('says the same of a wrong password, of nobody and of a user of another server', async () => {
    await user('bob')
    const answers = [
      await login(password('bob', 'wrong')),
      await login(password('nobody', 'wrong')),
      await login(password('@bob:other.org', 'their bob')),
    ]
    for (const answer of answers) {
      expect(answer).toMatchObject({
        status: 403,
        body: { errcode: 'M_FORBIDDEN', error: 'The user name or the password is wrong' },
      })
    }
  })

  it('of a deactivated user is refused once they have shown their password', async () => {
    const { userId, client: carol } = await user('carol')
    await db.updateTable('account').set({ deactivated_ts: 1 }).where('user_id', '=', userId).execute()
    expect(await login(password('carol', 'their carol'))).toMatchObject({
      status: 403,
      body: { errcode: 'M_USER_DEACTIVATED' },
    })
    expect((await login(password('carol', 'wrong'))).body.errcode).toBe('M_FORBIDDEN')
    expect((await carol.get('/_matrix/client/v3/account/whoami')).body.errcode).toBe('M_UNKNOWN_TOKEN')
  })

  it('under an existing device id replaces its access token and keeps the device', async () => {
    const dave = await user('dave')
    const whoami = (token: TestClient) => token.get('/_matrix/client/v3/account/whoami')
    expect((await whoami(dave.client)).status).toBe(200)
    const again = await login({ ...password('dave', 'their dave'), device_id: dave.deviceId })
    expect(again.body.device_id).toBe(dave.deviceId)
    expect(await whoami(dave.client)).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } })
    expect((await whoami(new TestClient(client.baseUrl, again.body.access_token))).status).toBe(200)
    expect(await accounts.devices(dave.userId)).toHaveLength(1)
  })

  it.each<[string, object, number, string, RegExp]>([
    ['another type', { type: 'm.login.token' }, 400, 'M_UNKNOWN', /m\.login\.password/],
    ['no type', {}, 400, 'M_BAD_JSON', /body\.type is required/],
    ['a type that is no string', { type: 1 }, 400, 'M_BAD_JSON', /body\.type must be a string/],
    ['no user', { type: 'm.login.password', password: 'x' }, 400, 'M_MISSING_PARAM', /identifier\.user/],
    ['no password', { type: 'm.login.password', user: 'x' }, 400, 'M_MISSING_PARAM', /password/],
    ['an identifier that is no object', { ...password('x', 'x'), identifier: 'x' }, 400, 'M_BAD_JSON', /identifier/],
    [
      'another identifier',
      { ...password('x', 'x'), identifier: { type: 'm.id.phone' } },
      400,
      'M_UNKNOWN',
      /m\.id\.user/,
    ],
    [
      'a user that is no string',
      { ...password('x', 'x'), identifier: { type: 'm.id.user', user: 1 } },
      400,
      'M_BAD_JSON',
      /user/,
    ],
    ['a user with U+0000', password('a\0b', 'x'), 400, 'M_BAD_JSON', /user/],
    ['a device id with U+0000', { ...password('x', 'x'), device_id: 'a\0' }, 400, 'M_BAD_JSON', /body\.device_id/],
    ['an empty password', password('x', ''), 400, 'M_UNKNOWN', /empty/],
    ['a password without end', password('x', 'x'.repeat(600)), 400, 'M_UNKNOWN', /512/],
  ])('with %s is refused by name', async (_name, body, status, errcode, error) => {
    expect(await login(body)).toMatchObject({ status, body: { errcode, error: expect.stringMatching(error) } })
  })

  it('keeps neither the password nor the access token', async () => {
    const { body } = await login(password((await user('erin')).userId, 'their erin'))
    for (const table of ['account', 'device', 'interactive_auth_session'] as const) {
      const dump = JSON.stringify(await db.selectFrom(table).selectAll().execute())
      expect(dump).not.toContain('their erin')
      expect(dump).not.toContain(body.access_token)
    }
  })
})

describe('log-out', () => {
  it('ends the access token and deletes the device', async () => {
    const { userId, client } = await user('frank')
    expect(await client.post('/_matrix/client/v3/logout')).toMatchObject({ status: 200, body: {} })
    expect((await client.get('/_matrix/client/v3/account/whoami')).body.errcode).toBe('M_UNKNOWN_TOKEN')
    expect(await accounts.devices(userId)).toEqual([])
  })

  it('of all devices ends all access tokens of the user and nobody else', async () => {
    const grace = await user('grace')
    const heidi = await user('heidi')
    const other = (await login(password('grace', 'their grace'))).body.access_token
    expect((await grace.client.request('POST', '/_matrix/client/v3/logout/all')).status).toBe(200)
    for (const token of [grace.client, new TestClient(client.baseUrl, other)]) {
      expect((await token.get('/_matrix/client/v3/account/whoami')).body.errcode).toBe('M_UNKNOWN_TOKEN')
    }
    expect((await heidi.client.get('/_matrix/client/v3/account/whoami')).status).toBe(200)
  })
})
