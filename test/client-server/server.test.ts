import { describe, expect, it } from '@jest/globals'
import { createHmac } from 'node:crypto'
import { routes } from '../../src/client-server/routes.js'
import { newSetupToken } from '../../src/accounts/setup.js'
import { accountServer, SHARED_SECRET } from '../support/account-server.js'
import { TestClient } from '../support/http.js'
import { testDatabase } from '../support/postgres.js'

const database = await testDatabase()
const { db } = database
const { client, user, accounts } = await accountServer(database, { registration: 'closed' })

describe('what a client asks first', () => {
  it('are versions without gaps', async () => {
    const { body } = await client.get('/_matrix/client/versions')
    const minors = body.versions
      .filter((name: string) => name.startsWith('v1.'))
      .map((name: string) => Number(name.slice(3)))
    expect(minors).toEqual(minors.map((_: number, index: number) => index + 1))
    expect(minors.length).toBeGreaterThanOrEqual(11)
  })

  it('is where the server is', async () => {
    const { body } = await client.get('/.well-known/matrix/client')
    expect(body).toEqual({ 'm.homeserver': { base_url: 'https://matrix.example.org' } })
  })

  it('is what the server can do', async () => {
    const { body } = await (await user('alice')).client.get('/_matrix/client/v3/capabilities')
    expect(body.capabilities['m.room_versions'].default).toBe('12')
    expect(Object.keys(body.capabilities['m.room_versions'].available)).toHaveLength(12)
    expect(await client.get('/_matrix/client/v3/capabilities')).toMatchObject({ status: 401 })
  })

  it('is that accounts have no addresses', async () => {
    const path = '/_matrix/client/v3/account/3pid'
    expect((await (await user('bob')).client.get(path)).body).toEqual({ threepids: [] })
    expect(await client.get(path)).toMatchObject({ status: 401 })
  })

  it('is whether it is well', async () => {
    expect(await client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } })
  })
})

describe('the pages', () => {
  it('say that it works, and load nothing', async () => {
    const { status, body, headers } = await client.get('/')
    expect(status).toBe(200)
    expect(body).toContain('Matrix homeserver')
    expect(body).toContain('https://matrix.example.org')
    expect(body).not.toMatch(/<(script|img|link|iframe)|src=|url\(/)
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
  })

  const form = (fields: Record<string, string>, path: string) =>
    client.post(path, new URLSearchParams(fields).toString(), {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    })
  const account = { username: 'Root', password: 'a long password', repeated: 'a long password' }

  it('make the first administrator, once', async () => {
    const token = await newSetupToken(db)
    const other = await newSetupToken(db)
    const path = `/setup/${token}`
    expect((await client.get(path)).body).toContain('<form method="post">')
    expect(await form({ ...account, repeated: 'x' }, path)).toMatchObject({
      status: 400,
      body: expect.stringMatching(/not the same[^]*value="Root"[^]*id="password"[^>]*autofocus/),
    })
    expect(await form({ ...account, password: 'x', repeated: 'x' }, path)).toMatchObject({ status: 400 })
    const hostile = await form({ ...account, username: '"><script>alert(1)</script>' }, path)
    expect([hostile.status, hostile.body.includes('<script>')]).toEqual([400, false])

    const answers = await Promise.all([form(account, path), form({ ...account, username: 'two' }, `/setup/${other}`)])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, expect.any(Number)])
    const admins = await db.selectFrom('account').select('user_id').where('is_admin', '=', true).execute()
    expect(admins).toHaveLength(1)

    expect((await client.get(path)).status).toBe(404)
    expect((await form({ ...account, username: 'three' }, `/setup/${other}`)).status).toBe(404)
    expect(await newSetupToken(db)).toBeUndefined()
  })

  it('know no other link', async () => {
    expect((await client.get('/setup/other')).status).toBe(404)
    expect((await client.get('/setup/%00')).status).toBe(404)
  })
})

describe('registration by the shared secret, as Synapse has it', () => {
  const path = '/_synapse/admin/v1/register'
  const nonce = async (): Promise<string> => (await client.get(path)).body.nonce
  const mac = (...parts: string[]) => createHmac('sha1', SHARED_SECRET).update(parts.join('\0')).digest('hex')

  it('makes users and administrators while registration is closed', async () => {
    const first = await nonce()
    const body = { nonce: first, username: 'bot', password: 'pw', mac: mac(first, 'bot', 'pw', 'notadmin') }
    const made = await client.post(path, { ...body, displayname: 'Bot' })
    expect(made).toMatchObject({ status: 200, body: { user_id: '@bot:example.org', home_server: 'example.org' } })
    const bot = new TestClient(client.baseUrl, made.body.access_token)
    expect((await bot.get('/_matrix/client/v3/account/whoami')).body.device_id).toBe(made.body.device_id)
    expect((await accounts.find('@bot:example.org'))?.isAdmin).toBe(false)

    const second = await nonce()
    await client.post(path, {
      nonce: second,
      username: 'boss',
      password: 'pw',
      admin: true,
      mac: mac(second, 'boss', 'pw', 'admin'),
    })
    expect((await accounts.find('@boss:example.org'))?.isAdmin).toBe(true)
  })

  it('takes a nonce for one account only', async () => {
    const once = await nonce()
    const body = { nonce: once, username: 'replayed', password: 'pw', mac: mac(once, 'replayed', 'pw', 'notadmin') }
    expect((await client.post(path, body)).status).toBe(200)
    expect((await client.post(path, body)).body.errcode).toBe('M_USER_IN_USE')
  })

  it('refuses a wrong signature, a forged nonce and missing fields', async () => {
    const fresh = await nonce()
    const body = { nonce: fresh, username: 'eve', password: 'pw', mac: mac(fresh, 'eve', 'pw', 'notadmin') }
    expect(await client.post(path, { ...body, admin: true })).toMatchObject({
      status: 403,
      body: { error: 'HMAC incorrect' },
    })
    expect(await client.post(path, { ...body, mac: 'x' })).toMatchObject({ status: 403 })
    for (const forged of ['x', '', `${fresh}x`, fresh.replace(/^./, '9')]) {
      expect(
        await client.post(path, { ...body, nonce: forged, mac: mac(forged, 'eve', 'pw', 'notadmin') }),
      ).toMatchObject({
        status: 400,
        body: { error: 'Unrecognised nonce' },
      })
    }
    expect((await client.post(path, { nonce: fresh })).body.errcode).toBe('M_BAD_JSON')
    expect((await client.post(path, { ...body, username: 'a\0b' })).status).toBe(400)
  })
})

describe('the endpoints', () => {
  it('are open without an access token only where that is meant', () => {
    const open = routes.filter(({ auth }) => auth === 'none').map(({ operationId }) => operationId)
    expect(open).toEqual(expect.arrayContaining(['login', 'register', 'getVersions']))
    expect(new Set(routes.map(({ operationId }) => operationId)).size).toBe(routes.length)
  })
})
