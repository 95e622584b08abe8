import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { unauthorized } from '../../src/protocol/matrix-error.js'
import { connect } from 'node:net'
import { pino } from 'pino'
import { Type } from 'typebox'
import { createApp } from '../../src/http/app.js'
import { endpointsOver } from '../../src/http/endpoint.js'
import { userId } from '../../src/http/fields.js'
import { Reply } from '../../src/http/reply.js'
import { listen, type RunningServer } from '../../src/http/server.js'
import type { DeviceNumber } from '../../src/protocol/numbers.js'
import { MatrixError, unknownToken } from '../../src/protocol/matrix-error.js'
import { TestClient } from '../support/http.js'

interface Services {
  waits: { started: () => void; aborted: () => void }
}
const endpoint = endpointsOver<Services>()
const alice = { userId: '@alice:example.org', device: 1 as DeviceNumber, deviceId: 'PHONE', isAdmin: false }

const endpoints = [
  endpoint({
    operationId: 'echo',
    method: 'post',
    path: '/_matrix/client/v3/echo/:id',
    auth: 'none',
    body: Type.Object({
      user_id: userId,
      count: Type.Optional(Type.Integer()),
      list: Type.Optional(Type.Array(Type.Object({ name: Type.String() }))),
      mode: Type.Optional(Type.Enum(['fast', 'slow'])),
    }),
    bodyLimit: 1000,
    handle: (_, { params, body, nonCanonicalNumber }) => ({ params, body, nonCanonicalNumber }),
  }),
  endpoint({
    operationId: 'query',
    method: 'get',
    path: '/_matrix/client/v3/query',
    auth: 'none',
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      full: Type.Optional(Type.Boolean()),
      via: Type.Optional(Type.Array(Type.String())),
      name: Type.String(),
    }),
    handle: (_, { query }) => query,
  }),
  endpoint({
    operationId: 'state',
    method: 'get',
    path: '/_matrix/client/v3/state/:type/:key',
    aliases: ['/_matrix/client/v3/state/:type', '/_matrix/client/v3/state/:type/'],
    auth: 'none',
    params: Type.Object({ type: Type.String(), key: Type.String() }),
    handle: (_, { params }) => params,
  }),
  endpoint({
    operationId: 'who',
    method: 'get',
    path: '/_matrix/client/v3/who',
    auth: 'access-token',
    handle: (_, { requester, ip }) => ({ user_id: requester.userId, ip }),
  }),
  endpoint({
    operationId: 'put',
    method: 'put',
    path: '/_matrix/client/v3/who',
    auth: 'access-token',
    body: Type.Object({}),
    emptyBody: 'allowed',
    handle: () => new Reply(201, '{"made":true}', { 'Content-Type': 'application/json; x=y' }),
  }),
  endpoint({
    operationId: 'fail',
    method: 'get',
    path: '/_matrix/client/v3/fail/:how',
    auth: 'none',
    params: Type.Object({ how: Type.String() }),
    handle(_, { params }) {
      if (params.how === 'refuse') throw new MatrixError(418, 'M_TEAPOT', 'no', { more: 1 }, { 'Retry-After': '3' })
      if (params.how === 'database')
        throw new Error('query failed', { cause: Object.assign(new Error('x'), { code: '57P01' }) })
      throw new Error('the password was hunter2')
    },
  }),
  endpoint({
    operationId: 'wait',
    method: 'get',
    path: '/wait',
    auth: 'none',
    handle: ({ waits }, { signal, shuttingDown }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => waits.aborted())
        shuttingDown.addEventListener('abort', () => resolve({ stopped: true }))
        waits.started()
      }),
  }),
]

let server: RunningServer
let client: TestClient
const stop = new AbortController()
const waits = { started: () => undefined as void, aborted: () => undefined as void }
const log: { level: number; [field: string]: unknown }[] = []
const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(JSON.parse(line)) })

beforeAll(async () => {
  const app = createApp({
    endpoints,
    services: { waits },
    authenticateServer: () => Promise.reject(unauthorized('No other server is known here')),
    authenticate: (token) => {
      if (token === 'secret') return alice
      throw unknownToken()
    },
    rateLimits: true,
    trustedProxies: ['127.0.0.0/8'],
    shuttingDown: stop.signal,
    logger,
  })
  server = await listen(app, { host: '127.0.0.1', port: 0, logger: pino({ level: 'silent' }) })
  client = new TestClient(`http://127.0.0.1:${server.port}`)
})

afterAll(() => server.close(0))

const echo = (body: unknown) => client.post('/_matrix/client/v3/echo/1', body)

describe('routing', () => {
  it('decodes parameters after matching, so that ids may hold slashes and sigils', async () => {
    const { body } = await client.post('/_matrix/client/v3/echo/%24a%2Fb%3Aexample.org', { user_id: '@a:b' })
    expect(body.params).toEqual({ id: '$a/b:example.org' })
    expect((await client.post('/_matrix/client/v3/echo/$!@%23:b', { user_id: '@a:b' })).body.params.id).toBe('$!@#:b')
    expect((await client.post('/_matrix/client/v3/echo/%2525', { user_id: '@a:b' })).body.params.id).toBe('%25')
  })

  it('answers under r0 what it answers under v3', async () => {
    expect((await client.get('/_matrix/client/r0/query?name=a')).body).toEqual({ name: 'a' })
  })

  it.each(['/state/m.room.name', '/state/m.room.name/'])('takes %s as the empty state key', async (path) => {
    expect((await client.get(`/_matrix/client/v3${path}`)).body).toEqual({ type: 'm.room.name', key: '' })
  })

  it('answers 404 M_UNRECOGNIZED for a path it does not have, in exactly that spelling', async () => {
    for (const path of [
      '/nowhere',
      '/_matrix/client/v3/query/',
      '//_matrix/client/v3/query',
      '/_matrix/client/V3/query',
    ]) {
      expect(await client.get(path)).toMatchObject({ status: 404, body: { errcode: 'M_UNRECOGNIZED' } })
    }
  })

  it('answers 405 M_UNRECOGNIZED for a method the path does not have', async () => {
    const answer = await client.delete('/_matrix/client/v3/who')
    expect(answer).toMatchObject({ status: 405, body: { errcode: 'M_UNRECOGNIZED' } })
    expect(answer.headers.get('allow')).toBe('GET, PUT')
    expect((await client.request('PATCH', '/_matrix/client/v3/who')).status).toBe(405)
  })

  it('answers 400 M_INVALID_PARAM for an escape that is not UTF-8', async () => {
    expect(await client.get('/_matrix/client/v3/state/%E0%A4%A')).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_PARAM' },
    })
  })

  it('answers HEAD as GET, without the body', async () => {
    expect(await client.request('HEAD', '/_matrix/client/v3/query?name=a')).toMatchObject({ status: 200, body: '' })
  })
})

describe('web browser clients', () => {
  it('sends CORS headers with every answer, errors included', async () => {
    for (const path of [
      '/nowhere',
      '/_matrix/client/v3/query?name=a',
      '/_matrix/client/v3/who',
      '/_matrix/client/v3/fail/x',
    ]) {
      const { headers } = await client.get(path)
      expect(headers.get('access-control-allow-origin')).toBe('*')
      expect(headers.get('access-control-allow-headers')).toBe('X-Requested-With, Content-Type, Authorization')
      expect(headers.get('access-control-allow-methods')).toBe('GET, POST, PUT, DELETE, OPTIONS')
      expect(headers.get('x-powered-by')).toBeNull()
      expect(headers.get('etag')).toBeNull()
    }
  })

  it('answers OPTIONS with 200 and does nothing of what the endpoint does', async () => {
    for (const path of ['/_matrix/client/v3/who', '/_matrix/client/v3/fail/x', '/nowhere']) {
      const { status, headers } = await client.request('OPTIONS', path)
      expect([status, headers.get('access-control-allow-origin')]).toEqual([200, '*'])
    }
  })
})

describe('bodies', () => {
  const deep = `{"user_id":${'['.repeat(200)}${']'.repeat(200)}}`
  it.each<[string, unknown, number, string, RegExp]>([
    ['no body', '', 400, 'M_NOT_JSON', /empty/],
    ['text', 'hello', 400, 'M_NOT_JSON', /not JSON/],
    ['half an object', '{"user_id":', 400, 'M_NOT_JSON', /not JSON/],
    ['bytes that are not UTF-8', Buffer.from('7b2261223a22ff227d', 'hex'), 400, 'M_NOT_JSON', /UTF-8/],
    ['a list', [], 400, 'M_BAD_JSON', /must be a JSON object/],
    ['a string', '"a"', 400, 'M_BAD_JSON', /must be a JSON object/],
    ['null', 'null', 400, 'M_BAD_JSON', /must be a JSON object/],
    ['a key twice', '{"user_id":"@a:b","user_id":"@a:b"}', 400, 'M_BAD_JSON', /twice/],
    ['a lone surrogate', '{"user_id":"\\ud800"}', 400, 'M_BAD_JSON', /surrogate/],
    ['deep nesting', deep, 400, 'M_BAD_JSON', /deep/i],
    ['a missing field', {}, 400, 'M_BAD_JSON', /^body\.user_id is required$/],
    ['a number for a string', { user_id: 1 }, 400, 'M_BAD_JSON', /^body\.user_id must be a string$/],
    ['an ill-formed id', { user_id: 'alice' }, 400, 'M_BAD_JSON', /^body\.user_id must be a user id/],
    ['a wrong type inside', { user_id: '@a:b', list: [{ name: 1 }] }, 400, 'M_BAD_JSON', /^body\.list\[0\]\.name must/],
    ['a float for an integer', { user_id: '@a:b', count: 1.5 }, 400, 'M_BAD_JSON', /^body\.count must be an integer/],
    [
      'a value outside the list',
      { user_id: '@a:b', mode: 'x' },
      400,
      'M_BAD_JSON',
      /^body\.mode must be one of fast, slow/,
    ],
    ['inherited keys', { __proto__: { user_id: '@a:b' } }, 400, 'M_BAD_JSON', /required/],
    ['more than the limit', { user_id: 'x'.repeat(2000) }, 413, 'M_TOO_LARGE', /1000 bytes/],
    ['far more than the limit', 'x'.repeat(3_000_000), 413, 'M_TOO_LARGE', /1000 bytes/],
  ])('%s is refused by name', async (_name, sent, status, errcode, error) => {
    expect(await echo(sent)).toMatchObject({ status, body: { errcode, error: expect.stringMatching(error) } })
  })

  it('gives unknown keys through, an own __proto__ key among them', async () => {
    const { body } = await echo('{"user_id":"@a:b","__proto__":{"x":1},"other":"\\u0000"}')
    expect(Object.entries(body.body)).toEqual([
      ['user_id', '@a:b'],
      ['__proto__', { x: 1 }],
      ['other', '\0'],
    ])
  })

  it('tells of a number that canonical JSON cannot have', async () => {
    expect((await echo('{"user_id":"@a:b","count":1.0}')).body.nonCanonicalNumber).toBe('1.0')
  })

  it('takes an absent body as an empty object where that is declared', async () => {
    const alice = new TestClient(client.baseUrl, 'secret')
    const answer = await alice.request('PUT', '/_matrix/client/v3/who')
    expect(answer).toMatchObject({ status: 201, body: { made: true } })
    expect(answer.headers.get('content-type')).toBe('application/json; x=y')
  })

  it('that are cut off are still taken from the wire for a moment, so that the answer is read', async () => {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => undefined)
    const answered = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())))
    socket.write(`POST /_matrix/client/v3/echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: ${20 * 1024 ** 2}\r\n\r\n{`)
    expect(await answered).toMatch(/^HTTP\/1.1 413 /)
    const isBroken = new Promise<boolean>((resolve) => socket.once('close', resolve))
    socket.end(Buffer.alloc(1024 ** 2))
    expect(await isBroken).toBe(false)
  })

  it('stays usable for a client that hung up while it was sending', async () => {
    const socket = connect(server.port, '127.0.0.1')
    socket.write('POST /_matrix/client/v3/echo/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"us', () =>
      socket.destroy(),
    )
    await new Promise((resolve) => socket.on('close', resolve))
    expect((await echo({ user_id: '@a:b' })).status).toBe(200)
  })
})

describe('queries', () => {
  it('converts integers, booleans and lists', async () => {
    const { body } = await client.get('/_matrix/client/v3/query?name=a%20b&limit=5&full=true&via=x&via=y&other=1')
    expect(body).toEqual({ name: 'a b', limit: 5, full: true, via: ['x', 'y'] })
  })

  it.each([
    ['name=a&limit=five', 'M_INVALID_PARAM', 'query.limit must be an integer'],
    ['name=a&limit=0', 'M_INVALID_PARAM', 'query.limit must be >= 1'],
    ['name=a&limit=1.5', 'M_INVALID_PARAM', 'query.limit must be an integer'],
    ['name=a&full=1', 'M_INVALID_PARAM', 'query.full must be a boolean'],
    ['limit=1', 'M_MISSING_PARAM', 'query.name is required'],
  ])('%s is refused', async (query, errcode, error) => {
    expect(await client.get(`/_matrix/client/v3/query?${query}`)).toMatchObject({
      status: 400,
      body: { errcode, error },
    })
  })
})

describe('access tokens', () => {
  const who = (path = '', headers: Record<string, string> = {}) =>
    client.get(`/_matrix/client/v3/who${path}`, { headers })

  it('are taken from the header and from the query', async () => {
    expect((await who('', { Authorization: 'Bearer secret' })).body.user_id).toBe('@alice:example.org')
    expect((await who('', { Authorization: 'bearer secret' })).status).toBe(200)
    expect((await who('?access_token=secret')).status).toBe(200)
  })

  it('that are missing or unknown get 401', async () => {
    expect(await who()).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } })
    expect(await who('?access_token=')).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } })
    expect(await who('', { Authorization: 'Basic secret' })).toMatchObject({ body: { errcode: 'M_MISSING_TOKEN' } })
    expect(await who('?access_token=other')).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } })
  })

  it('the address of the client is what a trusted proxy says', async () => {
    const headers = { Authorization: 'Bearer secret', 'X-Forwarded-For': '6.6.6.6, 192.0.2.7, 127.0.0.9' }
    expect((await who('', headers)).body.ip).toBe('192.0.2.7')
  })
})

describe('errors', () => {
  it('that are refusals are answered as they are', async () => {
    const answer = await client.get('/_matrix/client/v3/fail/refuse')
    expect(answer).toMatchObject({ status: 418, body: { errcode: 'M_TEAPOT', error: 'no', more: 1 } })
    expect(answer.headers.get('retry-after')).toBe('3')
  })

  it('of other kinds are answered without detail', async () => {
    expect(await client.get('/_matrix/client/v3/fail/otherwise')).toMatchObject({
      status: 500,
      body: { errcode: 'M_UNKNOWN', error: 'Internal server error' },
    })
  })

  it('are logged with the operation, and with what was in the path at debug only', async () => {
    const logged = async (level: string) => {
      log.length = 0
      logger.level = level
      await client.get('/_matrix/client/v3/fail/otherwise?access_token=secret')
      return log
    }
    const [line] = await logged('info')
    expect(line).toMatchObject({ level: 50, operation: 'fail', msg: 'a request failed' })
    expect(JSON.stringify({ ...line, err: undefined })).not.toContain('otherwise')
    const path = '/_matrix/client/v3/fail/otherwise'
    expect(await logged('debug')).toMatchObject([{ operation: 'fail', method: 'GET', path }])
  })

  it('of a database that is away are 503 with Retry-After', async () => {
    const answer = await client.get('/_matrix/client/v3/fail/database')
    expect(answer).toMatchObject({ status: 503, body: { errcode: 'M_UNKNOWN' } })
    expect(answer.headers.get('retry-after')).toBe('5')
  })
})

describe('the HTTP server', () => {
  it.each([
    ['both Content-Length and Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two Content-Lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
  ])('refuses %s', async (_name, rest) => {
    const socket = connect(server.port, '127.0.0.1')
    socket.write(`POST /_matrix/client/v3/echo/1 HTTP/1.1\r\nHost: a\r\n${rest}`)
    const [answer] = await new Promise<[Buffer]>((resolve) => socket.once('data', (data) => resolve([data])))
    socket.destroy()
    expect(answer.toString()).toMatch(/^HTTP\/1.1 400 /)
  })

  it('tells a handler that its client went away, and answers long polls when it stops', async () => {
    const aborted = new Promise<void>((resolve) => (waits.aborted = resolve))
    const leave = new AbortController()
    waits.started = () => leave.abort()
    await expect(client.get('/wait', { signal: leave.signal })).rejects.toThrow()
    await aborted

    const started = new Promise<void>((resolve) => (waits.started = resolve))
    const poll = client.get('/wait')
    await started
    stop.abort()
    const closed = server.close(5_000)
    expect((await poll).body).toEqual({ stopped: true })
    await closed
    await expect(client.get('/wait')).rejects.toThrow()
  })
})
