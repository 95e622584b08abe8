import { afterAll, beforeEach, describe, expect, it } from '@jest/globals'
import { Notary } from '../../src/federation/server-keys-notary.js'
import { OwnKeys } from '../../src/federation/server-keys-own.js'
import { ServerKeys } from '../../src/federation/server-keys.js'
import { createApp } from '../../src/http/app.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { encodeBase64 } from '../../src/protocol/base64.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { verifyJson, type SigningKey } from '../../src/protocol/signing.js'
import { bulkPerspectivesKeyQuery } from '../../src/server-server/keys_query/bulk-perspectives-key-query.js'
import { perspectivesKeyQuery } from '../../src/server-server/keys_query/perspectives-key-query.js'
import { getServerKey } from '../../src/server-server/keys_server/get-server-key.js'
import type { ServerServices } from '../../src/server-server/services.js'
import { Clock, keyAnswer, KeyServers, newKey } from '../support/key-servers.js'
import { TestClient } from '../support/http.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const HOUR = 3_600_000
const DAY = 24 * HOUR
const here = 'here.example'
const peer = 'peer.example'
const [ours, key] = [newKey('ours'), newKey('a')]
const clock = new Clock()
let remote = new KeyServers(clock)

const services = {} as { ownKeys: OwnKeys; notary: Notary; serverKeys: ServerKeys }
const serve = async (rateLimits: boolean) => {
  const app = createApp<ServerServices>({
    endpoints: [getServerKey, perspectivesKeyQuery, bulkPerspectivesKeyQuery],
    services: services as unknown as ServerServices,
    authenticateServer: () => Promise.reject(new Error('nobody signs here')),
    authenticate: () => Promise.reject(new Error('no user is here')),
    rateLimits,
    trustedProxies: [],
    shuttingDown: new AbortController().signal,
    logger: silentLogger,
  })
  const server = await listen(app, { host: '127.0.0.1', port: 0, logger: silentLogger })
  afterAll(() => server.close(0))
  return new TestClient(`http://127.0.0.1:${server.port}`)
}
const client = await serve(false)
const limited = await serve(true)

beforeEach(async () => {
  await db.deleteFrom('server_key_answer').execute()
  await db.deleteFrom('old_verify_key').execute()
  remote = new KeyServers(clock)
  remote.publish(peer, key)
  const deps = { db, remote, now: clock.now, logger: silentLogger, serverName: here, signingKey: ours }
  services.serverKeys = new ServerKeys(deps)
  services.ownKeys = new OwnKeys(deps)
  services.notary = new Notary(services.serverKeys, services.ownKeys)
})

const isSignedBy = (answer: JsonObject, server: string, { keyId, publicKey }: SigningKey) =>
  verifyJson(answer, server, keyId, publicKey)

describe('our keys', () => {
  const path = '/_matrix/key/v2/server'

  it('are published with those of before, signed, for a day', async () => {
    const former = newKey('former')
    const row = { key_id: former.keyId, public_key: Buffer.from(former.publicKey), expired_ts: 5 }
    await db.insertInto('old_verify_key').values(row).execute()
    const { status, body } = await client.get(path)
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        server_name: here,
        verify_keys: { [ours.keyId]: { key: encodeBase64(ours.publicKey) } },
        old_verify_keys: { [former.keyId]: { key: encodeBase64(former.publicKey), expired_ts: 5 } },
        valid_until_ts: clock.now() + DAY,
        signatures: { [here]: { [ours.keyId]: expect.any(String) } },
      },
    })
    expect(isSignedBy(body, here, ours)).toBe(true)
  })

  it('are written in canonical JSON', async () => {
    const text = await (await fetch(client.baseUrl + path)).text()
    expect(text).toBe(canonicalJson(JSON.parse(text) as JsonObject))
  })

  it('always count for an hour and longer', async () => {
    const { body } = await client.get(path)
    clock.pass(HOUR - 1)
    expect((await client.get(path)).body).toEqual(body)
    clock.pass(1)
    expect((await client.get(path)).body.valid_until_ts).toBe(clock.now() + DAY)
  })

  it('are known by no other path and method', async () => {
    expect(await client.post(path)).toMatchObject({ status: 405, body: { errcode: 'M_UNRECOGNIZED' } })
    for (const other of [`${path}/`, `${path}/ed25519:a`, '/_matrix/key/v1/server', '/_matrix/key/v2/other']) {
      expect(await client.get(other)).toMatchObject({ status: 404, body: { errcode: 'M_UNRECOGNIZED' } })
    }
    expect((await client.put('/_matrix/key/v2/query')).status).toBe(405)
  })
})

describe('the notary', () => {
  const one = async (server: string, query = '') =>
    (await client.get(`/_matrix/key/v2/query/${encodeURIComponent(server)}${query}`)).body.server_keys as JsonObject[]
  const many = (server_keys: object) => client.post('/_matrix/key/v2/query', { server_keys })

  it('signs what a server publishes beside its signature', async () => {
    const [answer, ...others] = await one(peer)
    expect(others).toEqual([])
    expect(answer).toMatchObject({
      server_name: peer,
      verify_keys: { [key.keyId]: { key: encodeBase64(key.publicKey) } },
    })
    expect([isSignedBy(answer!, peer, key), isSignedBy(answer!, here, ours)]).toEqual([true, true])
  })

  it('asks a server again after half of the time of its answer, or when more is wanted', async () => {
    await one(peer)
    await one(peer, `?minimum_valid_until_ts=${clock.now() + HOUR}`)
    expect(remote.timesAsked(peer)).toBe(1)
    await one(peer, `?minimum_valid_until_ts=${clock.now() + DAY + 1}`)
    expect(remote.timesAsked(peer)).toBe(2)
    clock.pass(12 * HOUR + 1)
    const [answer] = await one(peer)
    expect(remote.timesAsked(peer)).toBe(3)
    expect(answer!.valid_until_ts).toBe(clock.now() + DAY)
  })

  it('speaks for a server that is gone, with keys that it had before too', async () => {
    await one(peer)
    clock.pass(13 * HOUR)
    const next = newKey('b')
    remote.publish(peer, next)
    await one(peer)
    remote.fall(peer)
    clock.pass(100 * DAY)
    expect((await one(peer)).map((answer) => Object.keys(answer.verify_keys as object))).toEqual([
      [next.keyId],
      [key.keyId],
    ])
    const { body } = await many({ [peer]: { [key.keyId]: {} } })
    expect(body.server_keys).toHaveLength(1)
    expect(isSignedBy(body.server_keys[0], peer, key)).toBe(true)
  })

  it('says nothing of whom nobody knows', async () => {
    expect(await one('away.example')).toEqual([])
    expect((await many({ 'away.example': {}, 'a/b': {}, [peer]: { 'ed25519:other': {} } })).body).toEqual({
      server_keys: [],
    })
    expect(await client.get('/_matrix/key/v2/query/a%2Fb')).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_PARAM' },
    })
  })

  it('answers for many servers at once, and for this one', async () => {
    remote.publish('other.example', newKey('b'))
    const { body } = await many({
      [peer]: { [key.keyId]: { minimum_valid_until_ts: clock.now() } },
      'other.example': {},
      [here]: {},
    })
    const names = body.server_keys.map((answer: JsonObject) => answer.server_name).sort()
    expect(names).toEqual([here, 'other.example', peer])
    expect((await many({})).body).toEqual({ server_keys: [] })
  })

  it('honours the time that is asked for of a key', async () => {
    await many({ [peer]: { [key.keyId]: { minimum_valid_until_ts: clock.now() + HOUR } } })
    await many({ [peer]: { [key.keyId]: { minimum_valid_until_ts: clock.now() + HOUR } } })
    expect(remote.timesAsked(peer)).toBe(1)
    await many({ [peer]: { [key.keyId]: { minimum_valid_until_ts: clock.now() + 2 * DAY } } })
    expect(remote.timesAsked(peer)).toBe(2)
  })

  it('does not ask a server again and again, whatever is asked for', async () => {
    for (let at = 0; at < 20; at++) {
      await many({ [peer]: { [`ed25519:x${at}`]: { minimum_valid_until_ts: Number.MAX_SAFE_INTEGER } } })
    }
    expect(remote.timesAsked(peer)).toBeLessThanOrEqual(5)
  })

  it('hands on what it does not know, and nothing that is unsigned', async () => {
    const published = keyAnswer(peer, { keys: [key], validUntil: clock.now() + DAY })
    remote.answer(peer, JSON.stringify({ ...published, unsigned: { age: 1.5 } }))
    const [answer] = await one(peer)
    expect(answer).not.toHaveProperty('unsigned')
    expect(isSignedBy(answer!, peer, key)).toBe(true)
  })

  it('is asked for a hundred servers at most, in the shape of the specification', async () => {
    const names = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`s${at}.example`, {}]))
    expect((await many(names(100))).status).toBe(200)
    expect(await many(names(101))).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    for (const wrong of [[], { [peer]: [] }, { [peer]: { 'ed25519:a': 1 } }]) {
      expect(await many(wrong)).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } })
    }
    expect(await client.post('/_matrix/key/v2/query', {})).toMatchObject({ status: 400 })
    expect(await many({ [peer]: { __proto__: {} } })).toMatchObject({ status: 200 })
  })

  it('has limits for each who asks', async () => {
    const statuses: number[] = []
    for (let at = 0; at < 30; at++) statuses.push((await limited.get(`/_matrix/key/v2/query/${peer}`)).status)
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0)
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(20)
  })
})
