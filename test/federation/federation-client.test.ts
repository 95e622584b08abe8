import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeBase64 } from '../../src/protocol/base64.js'
import { ExactNumber, type JsonObject } from '../../src/protocol/json.js'
import { signingKeyFromSeed, verify } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import { parseAuthorization, requestText } from '../../src/protocol/x-matrix.js'
import { Addresses } from '../../src/federation/addresses.js'
import { Discovery } from '../../src/federation/discovery.js'
import { FederationClient } from '../../src/federation/federation-client.js'
import { OutboundHttp, textOf } from '../../src/federation/outbound-http.js'
import { type RemoteError, Unreachable } from '../../src/federation/remote.js'
import { TestAuthority } from '../support/certificates.js'
import { eventually } from '../support/eventually.js'
import { HttpsServer, json, type Asked } from '../support/https-server.js'

const authority = new TestAuthority()
const folder = mkdtempSync(join(tmpdir(), 'hearth-client-'))
const trustedCaFile = join(folder, 'ca.pem')
writeFileSync(trustedCaFile, authority.cert)
afterAll(() => rmSync(folder, { recursive: true }))

const signingKey = signingKeyFromSeed('k1', new Uint8Array(32).fill(7))
const path = '/_matrix/federation/v1/event/%24x?a=%2F&b'

let server: HttpsServer
let client: FederationClient
let destination: string

beforeAll(async () => {
  server = await HttpsServer.listening(authority, ['b.example', 'delegated.example'])
})
afterAll(() => server.close())

function clientWith(discovery?: Pick<Discovery, 'find'>): FederationClient {
  const addresses = new Addresses('all')
  const http = new OutboundHttp({ addresses, trustedCaFile, lookup: async () => ['127.0.0.1'] })
  return new FederationClient({
    serverName: 'a.example',
    signingKey,
    http,
    discovery: discovery ?? new Discovery({ http }),
  })
}

beforeEach(() => {
  destination = `b.example:${server.port}`
  client = clientWith()
  server.asked.length = 0
  server.script = (_asked, response) => json(response, { ok: true })
})
afterEach(() => client.close())

/** Whether our key signed this request to this server. */
function isSigned(asked: Asked, to: string): boolean {
  const { keyId, signature, origin, destination } = parseAuthorization(asked.headers.authorization ?? '')
  expect({ keyId, origin, destination }).toEqual({ keyId: 'ed25519:k1', origin: 'a.example', destination: to })
  const content = asked.body === '' ? undefined : (parseExactJson(asked.body) as JsonObject)
  const text = requestText({ method: asked.method, uri: asked.url, origin, destination: to, content })
  return verify(signingKey.publicKey, Buffer.from(text), decodeBase64(signature)!)
}

const failure = async (promise: Promise<unknown>): Promise<Error> => {
  try {
    await promise
  } catch (cause) {
    return cause as Error
  }
  throw new Error('it did not fail')
}

describe('a request', () => {
  it('is signed as it goes out', async () => {
    expect(await client.request(destination, { method: 'GET', path })).toBe('{"ok":true}')
    expect(server.asked[0]).toMatchObject({ method: 'GET', url: path, body: '' })
    expect(isSigned(server.asked[0]!, destination)).toBe(true)
  })

  it('is signed with its content, whose numbers stay as they were written', async () => {
    const content = { z: 'é', a: [new ExactNumber('1.0'), 0.5, null], '10': { b: true }, '9': 1, undefined: undefined }
    await client.request(destination, { method: 'PUT', path, content })
    expect(server.asked[0]!.body).toBe('{"10":{"b":true},"9":1,"a":[1.0,0.5,null],"z":"é"}')
    expect(isSigned(server.asked[0]!, destination)).toBe(true)
  })

  it('is signed for the name that was asked for, and not for where that leads', async () => {
    await client.close()
    const place = { host: '127.0.0.1', port: server.port }
    client = clientWith({
      find: async () => ({ certificateName: 'delegated.example', host: 'delegated.example', places: [place] }),
    })
    await client.request('b.example', { method: 'GET', path })
    expect(server.asked[0]).toMatchObject({ sni: 'delegated.example', headers: { host: 'delegated.example' } })
    expect(isSigned(server.asked[0]!, 'b.example')).toBe(true)
  })

  it('for what is public carries no signature', async () => {
    await client.unsigned(destination, { method: 'GET', path: '/_matrix/key/v2/server' })
    expect(server.asked[0]!.headers.authorization).toBeUndefined()
  })

  it('to this server is not sent', async () => {
    const error = await failure(client.request('a.example', { method: 'GET', path }))
    expect(error).toBeInstanceOf(Unreachable)
    expect(error.message).toMatch(/this server/)
  })

  it('to what is no server name is not sent', async () => {
    expect(await failure(client.request('b.example/x', { method: 'GET', path }))).toBeInstanceOf(Unreachable)
  })

  it('whose server takes too long to be found is given up', async () => {
    await client.close()
    client = clientWith({ find: () => new Promise(() => {}) })
    const error = await failure(client.request('b.example', { method: 'GET', path, timeout: 30 }))
    expect(error).toBeInstanceOf(Unreachable)
    const reason = new Error('not needed')
    const controller = new AbortController()
    const given = failure(client.request('b.example', { method: 'GET', path }, controller.signal))
    controller.abort(reason)
    expect(await given).toMatchObject({ name: 'Unreachable', cause: reason })
  })
})

describe('an error of the other server', () => {
  const error = async () => (await failure(client.request(destination, { method: 'GET', path }))) as RemoteError

  it('is told with what it holds', async () => {
    server.script = (_asked, response) =>
      json(response, { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', error: 'No', room_version: '7' }, 400)
    expect(await error()).toMatchObject({
      name: 'RemoteError',
      destination,
      status: 400,
      errcode: 'M_INCOMPATIBLE_ROOM_VERSION',
      error: 'No',
      body: { room_version: '7' },
      retryAfter: undefined,
    })
  })

  it.each<[string, object, Record<string, string>, number | undefined]>([
    ['in the header', {}, { 'retry-after': '3' }, 3000],
    ['in the body', { retry_after_ms: 1500 }, {}, 1500],
    ['in both', { retry_after_ms: 1500 }, { 'retry-after': '3' }, 3000],
    ['nowhere', {}, {}, undefined],
    ['as nonsense', { retry_after_ms: '9' }, { 'retry-after': 'soon' }, undefined],
  ])('says when to come again %s', async (_where, body, headers, retryAfter) => {
    server.script = (_asked, response) => json(response, { errcode: 'M_LIMIT_EXCEEDED', ...body }, 429, headers)
    expect(await error()).toMatchObject({ status: 429, errcode: 'M_LIMIT_EXCEEDED', retryAfter })
  })

  it.each([
    ['is a page', '<html>502 Bad Gateway</html>'],
    ['is an array', '[{"errcode":"M_FORBIDDEN"}]'],
    ['has another type of code', '{"errcode":403,"error":{}}'],
    ['is a huge page', 'x'.repeat(3_000_000)],
    ['is nothing', ''],
  ])('that %s has no code', async (_what, body) => {
    server.script = (_asked, response) => void response.writeHead(502).end(body)
    expect(await error()).toMatchObject({ name: 'RemoteError', status: 502, errcode: 'M_UNKNOWN', error: '' })
  })

  it('may be a redirect, which is not followed', async () => {
    server.script = (_asked, response) => json(response, {}, 307, { location: '/elsewhere' })
    expect(await error()).toMatchObject({ status: 307 })
    expect(server.asked).toHaveLength(1)
  })

  it('is every status but 200', async () => {
    server.script = (_asked, response) => json(response, {}, 201)
    expect(await error()).toMatchObject({ status: 201 })
  })
})

describe('no answer', () => {
  it('is what a server gives that is gone', async () => {
    const gone = await HttpsServer.listening(authority, ['b.example'])
    const { port } = gone
    await gone.close()
    const error = await failure(client.request(`b.example:${port}`, { method: 'GET', path }))
    expect(error).toMatchObject({ name: 'Unreachable', destination: `b.example:${port}` })
    expect(error.message).toMatch(/ECONNREFUSED/)
  })

  it('is what whoever gave up gets, with the reason they gave', async () => {
    server.script = (_asked, response) => void response.writeHead(200).write('{"a":')
    const controller = new AbortController()
    const given = failure(client.request(destination, { method: 'GET', path }, controller.signal))
    await eventually('the server is asked', () => server.asked.length === 1)
    controller.abort()
    expect(await given).toMatchObject({ name: 'Unreachable', cause: controller.signal.reason as Error })
    const late = failure(client.stream(destination, { method: 'GET', path }, controller.signal))
    expect(await late).toMatchObject({ name: 'Unreachable', cause: controller.signal.reason as Error })
    expect(server.asked).toHaveLength(1)
  })

  it('is what breaks off, is too large, or is late, also when it began well', async () => {
    server.script = (_asked, response) => {
      response.writeHead(200).write('{"a":')
      setTimeout(() => response.destroy(), 20)
    }
    expect(await failure(client.request(destination, { method: 'GET', path }))).toBeInstanceOf(Unreachable)
    server.script = (_asked, response) => void response.writeHead(200).write('x'.repeat(2000))
    const large = { method: 'GET', path, maxBytes: 1000 } as const
    expect(await failure(client.request(destination, large))).toBeInstanceOf(Unreachable)
    const late = { method: 'GET', path, timeout: 100 } as const
    expect(await failure(client.request(destination, late))).toBeInstanceOf(Unreachable)
  })
})

describe('a streamed answer', () => {
  it('arrives in chunks of text', async () => {
    server.script = (_asked, response) => {
      response.writeHead(200).write(Buffer.from('{"a":"\xc3', 'latin1'))
      setTimeout(() => response.end(Buffer.from('\xa9"}', 'latin1')), 20)
    }
    const body = await client.stream(destination, { method: 'PUT', path, content: {} })
    expect(await textOf(body)).toBe('{"a":"é"}')
  })

  it('that breaks off fails as no answer', async () => {
    server.script = (_asked, response) => {
      response.writeHead(200).write('{"a":')
      setTimeout(() => response.destroy(), 20)
    }
    const body = await client.stream(destination, { method: 'GET', path })
    expect(await failure(textOf(body))).toMatchObject({ name: 'Unreachable', destination })
  })

  it('that nobody reads fails without harm', async () => {
    server.script = (_asked, response) => void response.writeHead(200).write('{"a":')
    const body = await client.stream(destination, { method: 'GET', path, timeout: 50 })
    await new Promise((resolve) => body.once('close', resolve))
    expect(await failure(textOf(body))).toMatchObject({ name: 'Unreachable' })
  })

  it('that is an error is told as one', async () => {
    server.script = (_asked, response) => json(response, { errcode: 'M_FORBIDDEN', error: 'No' }, 403)
    expect(await failure(client.stream(destination, { method: 'GET', path }))).toMatchObject({ errcode: 'M_FORBIDDEN' })
  })
})
