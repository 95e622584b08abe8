import { describe, expect, it } from '@jest/globals'
import { insertRegistrationToken } from '../../src/store/registration-tokens.js'
import { accountServer } from '../support/account-server.js'
import { TestClient } from '../support/http.js'
import { testDatabase } from '../support/postgres.js'

const database = await testDatabase()
const { db } = database
const open = (await accountServer(database)).client
const byToken = (await accountServer(database, { registration: 'token' })).client
const closed = (await accountServer(database, { registration: 'closed' })).client

const register = (client: TestClient, body: object, query = '') =>
  client.post(`/_matrix/client/v3/register${query}`, body)
const dummy = { type: 'm.login.dummy' }

describe('open registration', () => {
  it('asks for a stage, then makes the account and logs it in', async () => {
    const asked = await register(open, {})
    expect(asked).toMatchObject({
      status: 401,
      body: { flows: [{ stages: ['m.login.dummy'] }], params: {}, completed: [] },
    })
    expect(asked.body).not.toHaveProperty('errcode')

    const body = {
      username: 'alice',
      password: 'secret',
      device_id: 'PHONE',
      auth: { ...dummy, session: asked.body.session },
    }
    const made = await register(open, body)
    expect(made).toMatchObject({ status: 200, body: { user_id: '@alice:example.org', device_id: 'PHONE' } })
    const whoami = await new TestClient(open.baseUrl, made.body.access_token).get('/_matrix/client/v3/account/whoami')
    expect(whoami.body.user_id).toBe('@alice:example.org')
  })

  it('needs no session where one request says everything', async () => {
    const { status, body } = await register(open, { username: 'bob', password: 'secret', auth: dummy })
    expect([status, body.user_id]).toEqual([200, '@bob:example.org'])
  })

  it('makes a name up for who asks for none, and small letters of capitals', async () => {
    const { body } = await register(open, { password: 'secret', auth: dummy })
    expect(body.user_id).toMatch(/^@[a-z0-9]{12}:example\.org$/)
    expect((await register(open, { username: 'CaRoL', password: 'secret', auth: dummy })).body.user_id).toBe(
      '@carol:example.org',
    )
  })

  it('does not log in who does not want to be', async () => {
    const { body } = await register(open, { username: 'dave', password: 'secret', auth: dummy, inhibit_login: true })
    expect(body).toEqual({ user_id: '@dave:example.org' })
  })

  it('uses a session up, and knows none that was not begun', async () => {
    const { session } = (await register(open, {})).body
    const auth = { ...dummy, session }
    expect((await register(open, { username: 'one', password: 'secret', auth })).status).toBe(200)
    const second = await register(open, { username: 'two', password: 'secret', auth })
    expect(second).toMatchObject({
      status: 401,
      body: { errcode: 'M_FORBIDDEN', flows: [{ stages: ['m.login.dummy'] }] },
    })
    expect(second.body.session).not.toBe(session)
  })

  it('gives one name to one of those who want it at the same time', async () => {
    const body = { username: 'wanted', password: 'secret', auth: dummy }
    const answers = await Promise.all(Array.from({ length: 5 }, () => register(open, body)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400, 400])
    expect(answers.filter(({ status }) => status === 400).map((answer) => answer.body.errcode)).toEqual(
      Array(4).fill('M_USER_IN_USE'),
    )
  })

  it.each<[string, object, number, string]>([
    ['a name with a space', { username: 'a b' }, 400, 'M_INVALID_USERNAME'],
    ['an empty name', { username: '' }, 400, 'M_INVALID_USERNAME'],
    ['a name in another alphabet', { username: 'ålice' }, 400, 'M_INVALID_USERNAME'],
    ['a letter that only looks like k when lowered', { username: '\u212a' }, 400, 'M_INVALID_USERNAME'],
    ['a name with U+0000', { username: 'a\0' }, 400, 'M_INVALID_USERNAME'],
    ['a name beyond 255 bytes', { username: 'a'.repeat(250) }, 400, 'M_INVALID_USERNAME'],
    ['a name that is taken', { username: 'bob' }, 400, 'M_USER_IN_USE'],
    ['a name that is no string', { username: 1 }, 400, 'M_BAD_JSON'],
    ['no password', { username: 'x', auth: dummy }, 400, 'M_MISSING_PARAM'],
    ['an empty password', { username: 'x', password: '', auth: dummy }, 400, 'M_BAD_JSON'],
    ['auth that is no object', { auth: 'x' }, 400, 'M_BAD_JSON'],
    ['auth of a type that is no string', { password: 'secret', auth: { type: 1 } }, 400, 'M_BAD_JSON'],
    ['auth of another type', { password: 'secret', auth: { type: 'm.login.sso' } }, 401, 'M_UNRECOGNIZED'],
    [
      'auth of a type that objects inherit',
      { password: 'secret', auth: { type: 'constructor' } },
      401,
      'M_UNRECOGNIZED',
    ],
    ['a session that is no string', { password: 'secret', auth: { ...dummy, session: {} } }, 400, 'M_BAD_JSON'],
    ['a session with U+0000', { password: 'secret', auth: { ...dummy, session: '\0' } }, 401, 'M_FORBIDDEN'],
    [
      'a password as sentinel of a stage',
      { password: 'secret', auth: { session: '', type: 'm.login.password' } },
      401,
      'M_FORBIDDEN',
    ],
  ])('refuses %s', async (_name, body, status, errcode) => {
    expect(await register(open, body)).toMatchObject({ status, body: { errcode } })
  })

  it('refuses guests', async () => {
    expect(await register(open, {}, '?kind=guest')).toMatchObject({
      status: 403,
      body: { errcode: 'M_GUEST_ACCESS_FORBIDDEN' },
    })
    expect(await register(open, {}, '?kind=dog')).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
  })

  it('tells whether a name is free', async () => {
    const available = (name: string) => open.get(`/_matrix/client/v3/register/available?username=${name}`)
    expect(await available('free')).toMatchObject({ status: 200, body: { available: true } })
    expect(await available('bob')).toMatchObject({ status: 400, body: { errcode: 'M_USER_IN_USE' } })
    expect(await available('a%20b')).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_USERNAME' } })
  })
})

describe('registration by token', () => {
  const auth = (token: unknown, session?: string) => ({ type: 'm.login.registration_token', token, session })
  const isValid = async (token: string) =>
    (await byToken.get(`/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`)).body.valid

  it('takes a token as often as it may be used', async () => {
    await insertRegistrationToken(db, { token: 'twice', usesAllowed: 2, expiresTs: undefined }, 0)
    const body = (username: string) => ({ username, password: 'secret', auth: auth('twice') })
    expect(await isValid('twice')).toBe(true)
    expect((await register(byToken, body('first'))).status).toBe(200)
    expect((await register(byToken, body('second'))).status).toBe(200)
    expect(await isValid('twice')).toBe(false)
    expect(await register(byToken, body('third'))).toMatchObject({
      status: 401,
      body: { errcode: 'M_FORBIDDEN', completed: [] },
    })
  })

  it('counts no use for a registration that fails', async () => {
    await insertRegistrationToken(db, { token: 'once', usesAllowed: 1, expiresTs: undefined }, 0)
    const body = (username: string) => ({ username, password: 'secret', auth: auth('once') })
    expect((await register(byToken, body('first'))).body.errcode).toBe('M_USER_IN_USE')
    expect(await isValid('once')).toBe(true)
  })

  it('gives the last use to one of those who want it at the same time', async () => {
    await insertRegistrationToken(db, { token: 'last', usesAllowed: 1, expiresTs: undefined }, 0)
    const answers = await Promise.all(
      Array.from({ length: 4 }, (_, n) =>
        register(byToken, { username: `race${n}`, password: 'secret', auth: auth('last') }),
      ),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  it('refuses a token that has ended, that nobody made, and what is none', async () => {
    await insertRegistrationToken(db, { token: 'ended', usesAllowed: undefined, expiresTs: 1 }, 0)
    expect(await isValid('ended')).toBe(false)
    expect(await isValid('nobody')).toBe(false)
    for (const token of ['ended', 'nobody', 'a\0b']) {
      expect(await register(byToken, { password: 'secret', auth: auth(token) })).toMatchObject({
        status: 401,
        body: { errcode: 'M_FORBIDDEN', flows: [{ stages: ['m.login.registration_token'] }] },
      })
    }
    expect((await register(byToken, { password: 'secret', auth: auth(1) })).body.errcode).toBe('M_MISSING_PARAM')
    expect((await register(byToken, { password: 'secret', auth: dummy })).status).toBe(401)
  })
})

describe('closed registration', () => {
  it('refuses to register, and to tell names and tokens', async () => {
    const answers = [
      await register(closed, { username: 'x', password: 'secret', auth: dummy }),
      await closed.get('/_matrix/client/v3/register/available?username=x'),
      await closed.get('/_matrix/client/v1/register/m.login.registration_token/validity?token=x'),
    ]
    for (const answer of answers) expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })
})
