import { describe, expect, it } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { Unreachable, type Remote } from '../../src/federation/remote.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { verifyJson } from '../../src/protocol/signing.js'
import { signRequest } from '../../src/protocol/x-matrix.js'
import { routes } from '../../src/server-server/routes.js'
import { startTestHomeserver } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'
import { keyAnswer, newKey } from '../support/key-servers.js'
import { testServer } from '../support/rooms.js'

/** Requests of other servers to the whole server, as they arrive. */

const peer = 'peer.example'
const key = newKey('a')
const away = (server: string) => Promise.reject(new Unreachable(server, 'connection refused'))
const remote: Remote = {
  request: away,
  stream: away,
  unsigned: async (server) => {
    if (server !== peer) return away(server)
    return JSON.stringify(keyAnswer(peer, { keys: [key], validUntil: Date.now() + 3_600_000 }))
  },
}
const homeserver = await startTestHomeserver({ remote })
const client = new TestClient(homeserver.baseUrl)
const alice = await homeserver.user('alice')

interface Asking {
  readonly content?: JsonObject
  readonly origin?: string
  readonly signed?: Partial<{ uri: string; method: string; content: JsonObject }>
}

/** As a server asks; what is signed can differ from what is sent. */
function ask(method: string, uri: string, { content, origin = peer, signed = {} }: Asking = {}) {
  const request = { method, uri, origin, destination: testServer.name, content, ...signed }
  const headers = { Authorization: signRequest(request, key) }
  return client.request(method, uri, content === undefined ? undefined : canonicalJson(content), { headers })
}

const profile = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(alice.userId)}`
const publicRooms = '/_matrix/federation/v1/publicRooms'
const unauthorized = { status: 401, body: { errcode: 'M_UNAUTHORIZED', error: expect.any(String) } }

describe('a signed request', () => {
  it('is answered, with escapes in its query and with content', async () => {
    expect(await ask('GET', profile)).toMatchObject({ status: 200 })
    expect(await ask('POST', publicRooms, { content: { limit: 1 } })).toMatchObject({ status: 200 })
  })

  it('is refused where what was signed is not what is sent', async () => {
    expect(await ask('GET', profile, { signed: { uri: decodeURIComponent(profile) } })).toMatchObject(unauthorized)
    expect(await ask('GET', profile, { signed: { uri: profile.split('?')[0]! } })).toMatchObject(unauthorized)
    expect(await ask('GET', profile, { signed: { method: 'POST' } })).toMatchObject(unauthorized)
    const other = { content: { limit: 1 }, signed: { content: { limit: 2 } } }
    expect(await ask('POST', publicRooms, other)).toMatchObject(unauthorized)
  })

  it('is refused of a server that cannot be asked for its keys', async () => {
    const { status, body } = await ask('GET', profile, { origin: 'away.example' })
    expect({ status, ...body }).toMatchObject({ status: 401, error: expect.stringContaining('away.example') })
  })

  it('is refused where it is not signed, or by a user', async () => {
    expect(await client.get(profile)).toMatchObject(unauthorized)
    expect(await alice.get(profile)).toMatchObject(unauthorized)
    expect(await client.post(publicRooms, {})).toMatchObject(unauthorized)
  })
})

describe('the endpoints for servers', () => {
  it('are signed, but for those that say who we are, take a token of their own or are for identity servers', () => {
    const open = routes.filter(({ auth }) => auth !== 'signed-request').map(({ operationId }) => operationId)
    expect(open.sort()).toEqual([
      'bulkPerspectivesKeyQuery',
      'exchangeOpenIdToken',
      'getServerKey',
      'getVersion',
      'getWellKnown',
      'onBindThirdPartyIdentifier',
      'onBindThirdPartyIdentifierByPost',
      'perspectivesKeyQuery',
    ])
    expect(new Set(routes.map(({ operationId }) => operationId)).size).toBe(routes.length)
  })

  it.each([
    ['GET', '/_matrix/federation/v1/nothing', 404],
    ['GET', '/_matrix/federation/v1', 404],
    ['GET', '/_matrix/federation/v1/version/', 404],
    ['PUT', '/_matrix/federation/v3/send/1', 404],
    ['GET', '/_matrix/key/v2/nothing', 404],
    ['POST', '/_matrix/federation/v1/version', 405],
    ['DELETE', '/_matrix/federation/v1/send/1', 405],
    ['POST', '/_matrix/key/v2/server', 405],
    ['PATCH', '/_matrix/key/v2/query', 405],
  ])('are not %s %s: %d', async (method, path, status) => {
    expect(await client.request(method, path)).toMatchObject({ status, body: { errcode: 'M_UNRECOGNIZED' } })
  })
})

describe('who we are', () => {
  it('is our name and version', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
    const { body } = await client.get('/_matrix/federation/v1/version')
    expect(body).toEqual({ server: { name: 'Hearth', version } })
  })

  it('is our key', async () => {
    const { body } = await client.get('/_matrix/key/v2/server')
    expect(verifyJson(body, testServer.name, testServer.key.keyId, testServer.key.publicKey)).toBe(true)
  })

  it('is where we are to be found', async () => {
    const { body, headers } = await client.get('/.well-known/matrix/server')
    expect(body).toEqual({ 'm.server': 'hearth.test:443' })
    expect(headers.get('cache-control')).toBe('max-age=3600')
  })
})
