import { beforeEach, describe, expect, it } from '@jest/globals'
import type { RemoteRequest } from '../../src/federation/remote.js'
import { ServerKeys } from '../../src/federation/server-keys.js'
import { silentLogger } from '../../src/logger.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signJson } from '../../src/protocol/signing.js'
import { Clock, keyAnswer, KeyServers, newKey } from '../support/key-servers.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const DAY = 24 * 3_600_000
const [gone, notary, second] = ['gone.example', 'notary.example', 'second.example']
const [ours, key, notaryKey] = [newKey('ours'), newKey('a'), newKey('notary')]

let clock: Clock
let servers: KeyServers
/** What notaries answer to queries. */
let vouched: Map<string, readonly JsonObject[]>
let queries: string[]

const remote = {
  async unsigned(destination: string, request: RemoteRequest): Promise<string> {
    if (request.path !== '/_matrix/key/v2/query') return servers.unsigned(destination, request)
    expect(request).toMatchObject({ method: 'POST', content: { server_keys: { [gone]: {} } } })
    queries.push(destination)
    return JSON.stringify({ server_keys: vouched.get(destination) ?? [] })
  },
}

beforeEach(async () => {
  await db.deleteFrom('server_key_answer').execute()
  clock = new Clock()
  servers = new KeyServers(clock)
  vouched = new Map()
  queries = []
  servers.publish(notary, notaryKey)
  servers.publish(second, notaryKey)
})

function asking(notaries: readonly string[]) {
  const deps = { db, remote, now: clock.now, logger: silentLogger, serverName: 'here.example', signingKey: ours }
  const serverKeys = new ServerKeys({ ...deps, notaries })
  return (server = gone, validAt = clock.now()) =>
    serverKeys.keys(server, [key.keyId], validAt, new AbortController().signal)
}

const word = (validUntil = clock.now() + DAY) => keyAnswer(gone, { keys: [key], validUntil })
const signed = (answer: JsonObject, by = notary, with_ = notaryKey) => signJson(answer, by, with_)

describe('the keys of a server that does not answer', () => {
  it('are had from a notary', async () => {
    vouched.set(notary, [signed(word())])
    expect((await asking([notary])()).get(key.keyId)).toMatchObject({ validUntil: clock.now() + DAY })
  })

  it('are those of the newest answer of the first notary that has any', async () => {
    vouched.set(second, [signed(word(clock.now() - DAY), second), signed(word(), second)])
    expect((await asking([notary, second])()).get(key.keyId)).toMatchObject({ validUntil: clock.now() + DAY })
    expect(queries).toEqual([notary, second])
  })

  it('count as long as the server said, though a notary tells of them later', async () => {
    vouched.set(notary, [signed(word(clock.now() - DAY))])
    const found = await asking([notary])(gone, clock.now() - 2 * DAY)
    expect(found.get(key.keyId)).toMatchObject({ validUntil: clock.now() - DAY })
  })

  it.each<[string, () => JsonObject]>([
    ['without the signature of the notary', () => word()],
    ['with a wrong signature of the notary', () => signed(word(), notary, newKey('notary'))],
    ['without the signature of the server', () => signed({ ...word(), signatures: {} })],
    ['that was changed', () => signed({ ...word(), valid_until_ts: clock.now() + 2 * DAY })],
    ['of another server', () => signed(keyAnswer('other.example', { keys: [key], validUntil: clock.now() + DAY }))],
  ])('are not taken from an answer %s', async (_sentence, answer) => {
    vouched.set(notary, [answer()])
    await expect(asking([notary])()).rejects.toMatchObject({ name: 'Unreachable' })
  })

  it('are not taken from an answer older than what it said itself', async () => {
    const ask = asking([notary])
    const old = word(clock.now() + DAY)
    const next = newKey('b')
    servers.answer(gone, () =>
      JSON.stringify(
        keyAnswer(gone, {
          keys: [next],
          old: [{ key, expiredTs: clock.now() - DAY }],
          validUntil: clock.now() + 2 * DAY,
        }),
      ),
    )
    await ask()
    servers.fall(gone)
    vouched.set(notary, [signed(old)])
    clock.pass(3 * DAY)
    expect((await ask()).get(key.keyId)).toMatchObject({ isOld: true })
  })

  it('are asked for nowhere else where no notary is named, or it answers, or is a notary itself', async () => {
    vouched.set(notary, [signed(word())])
    await expect(asking([])()).rejects.toMatchObject({ name: 'Unreachable' })
    await expect(asking([gone, notary])()).rejects.toMatchObject({ name: 'Unreachable' })
    servers.publish(gone, key)
    expect((await asking([notary])()).size).toBe(1)
    expect(queries).toEqual([])
  })
})
