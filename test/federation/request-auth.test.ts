import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { RequestAuth, type ReceivedRequest } from '../../src/federation/request-auth.js'
import { ServerKeys } from '../../src/federation/server-keys.js'
import { silentLogger } from '../../src/logger.js'
import { encodeBase64 } from '../../src/protocol/base64.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import type { JsonObject } from '../../src/protocol/json.js'
import type { SigningKey } from '../../src/protocol/signing.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import { formatAuthorization, requestText, signRequest } from '../../src/protocol/x-matrix.js'
import { eventually } from '../support/eventually.js'
import { Clock, keyAnswer, KeyServers, newKey } from '../support/key-servers.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const DAY = 24 * 3_600_000
const here = 'here.example'
const peer = 'peer.example'
const key = newKey('a')
const ours = newKey('ours')

let clock: Clock
let remote: KeyServers
let auth: RequestAuth
let heard: string[]

beforeEach(async () => {
  await db.deleteFrom('server_key_answer').execute()
  clock = new Clock()
  remote = new KeyServers(clock)
  remote.publish(peer, key)
  heard = []
  const deps = { db, remote, now: clock.now, logger: silentLogger, serverName: here, signingKey: ours }
  const onHeard = (serverName: string) => heard.push(serverName)
  auth = new RequestAuth({ serverName: here, serverKeys: new ServerKeys(deps), now: clock.now, onHeard })
})

afterEach(() => auth.close())

const uri = '/_matrix/federation/v1/send/1?a=%20b'

interface Signing {
  readonly method?: string
  readonly uri?: string
  readonly origin?: string
  readonly destination?: string
  readonly content?: string | undefined
}

interface Sent extends Pick<ReceivedRequest, 'method' | 'uri' | 'authorization'> {
  readonly content: string | undefined
}

/** A request as its origin signs and sends it. */
function signed(by: SigningKey = key, { content = '{"pdus":[]}', ...changes }: Signing = {}): Sent {
  const request = { method: 'PUT', uri, origin: peer, destination: here, ...changes }
  const authorization = signRequest({ ...request, content: parseExactJson(content) as JsonObject }, by)
  return { method: request.method, uri: request.uri, authorization, content }
}

const body = (content: string) => {
  const bytes = Buffer.from(content)
  return { length: bytes.length, read: () => Promise.resolve(bytes) }
}

/** As it arrives. */
const authenticate = ({ content, ...request }: Sent) =>
  auth.authenticate({ ...request, body: content === undefined ? undefined : body(content), address: '192.0.2.1' })

const refused = (why: RegExp) =>
  expect.objectContaining({ status: 401, errcode: 'M_UNAUTHORIZED', message: expect.stringMatching(why) })

describe('a request', () => {
  it('is of the server that signed it, which is heard of', async () => {
    expect(await authenticate(signed())).toEqual({ serverName: peer })
    expect(heard).toEqual([peer])
  })

  it('may have no content', async () => {
    const authorization = signRequest({ method: 'GET', uri, origin: peer, destination: here }, key)
    const request = { method: 'GET', uri, authorization, content: undefined }
    expect(await authenticate(request)).toEqual({ serverName: peer })
    await expect(authenticate({ ...request, content: '{}' })).rejects.toEqual(refused(/signature/))
  })

  it('may be written in any way that means the same', async () => {
    const request = signed(key, { content: '{"b":"é","a":[1,2]}' })
    const content = ' { "a" : [1, 2], "b" : "\\u00e9" } '
    expect(await authenticate({ ...request, content })).toEqual({ serverName: peer })
  })

  it('may hold numbers of old rooms, as they were written', async () => {
    const request = signed(key, { content: '{"pdus":[{"depth":1.0,"big":12345678901234567890}]}' })
    expect(await authenticate(request)).toEqual({ serverName: peer })
    const content = request.content!.replace('1.0', '1')
    await expect(authenticate({ ...request, content })).rejects.toEqual(refused(/signature/))
  })

  it('may lack the destination in its header, though not in what is signed', async () => {
    const text = requestText({ method: 'GET', uri, origin: peer, destination: here })
    const header = (text: string) =>
      formatAuthorization({ origin: peer, keyId: key.keyId, signature: encodeBase64(key.sign(Buffer.from(text))) })
    const request = { method: 'GET', uri, content: undefined }
    expect(await authenticate({ ...request, authorization: header(text) })).toEqual({ serverName: peer })
    const elsewhere = requestText({ method: 'GET', uri, origin: peer, destination: 'elsewhere.example' })
    await expect(authenticate({ ...request, authorization: header(elsewhere) })).rejects.toEqual(refused(/signature/))
  })
})

describe('a replayed request is refused', () => {
  it.each<[string, (request: Sent) => Sent]>([
    ['with another method', (request) => ({ ...request, method: 'POST' })],
    ['at another path', (request) => ({ ...request, uri: uri.replace('/1?', '/2?') })],
    ['with another query', (request) => ({ ...request, uri: uri.replace('b', 'c') })],
    ['with its path decoded', (request) => ({ ...request, uri: uri.replace('%20', ' ') })],
    ['with its escapes written otherwise', (request) => ({ ...request, uri: uri.replace('send', '%73end') })],
    ['without its query', (request) => ({ ...request, uri: uri.split('?')[0]! })],
    ['with another content', (request) => ({ ...request, content: '{"pdus":[1]}' })],
    ['with more content', (request) => ({ ...request, content: '{"pdus":[],"edus":[]}' })],
    ['without content', (request) => ({ ...request, content: undefined })],
    ['with content that is no object', (request) => ({ ...request, content: '[]' })],
    ['with content that is no JSON', (request) => ({ ...request, content: '{' })],
    ['with content that has a key twice', (request) => ({ ...request, content: '{"pdus":[],"pdus":[]}' })],
    [
      'in the name of another server',
      (request) => ({ ...request, authorization: request.authorization!.replace(peer, 'other.example') }),
    ],
    [
      'with another key id',
      (request) => ({ ...request, authorization: request.authorization!.replace('ed25519:a', 'ed25519:b') }),
    ],
    [
      'with another signature',
      (request) => ({ ...request, authorization: request.authorization!.replace(/sig="./, 'sig="') }),
    ],
    [
      'with a signature that is no base64',
      (request) => ({ ...request, authorization: request.authorization!.replace(/sig=".*"/, 'sig="!"') }),
    ],
  ])('%s', async (_what, change) => {
    remote.publish('other.example', newKey('a'))
    await expect(authenticate(change(signed()))).rejects.toEqual(refused(/./))
    expect(heard).toEqual([])
  })

  it('at another server', async () => {
    const request = signed(key, { destination: 'elsewhere.example' })
    await expect(authenticate(request)).rejects.toEqual(refused(/for another server: this is here\.example/))
    expect(remote.asked).toEqual([])
  })
})

describe('nobody is', () => {
  it('who says nothing', async () => {
    await expect(authenticate({ ...signed(), authorization: undefined })).rejects.toEqual(refused(/no Auth/))
  })

  it('this server', async () => {
    await expect(authenticate(signed(ours, { origin: here }))).rejects.toEqual(refused(/asks itself/))
  })

  it('who signs with a key the server does not publish', async () => {
    await expect(authenticate(signed(newKey('other')))).rejects.toEqual(
      refused(/peer\.example publishes no key ed25519:other/),
    )
  })

  it('who signs with another key of the same name', async () => {
    await expect(authenticate(signed(newKey('a')))).rejects.toEqual(refused(/signature of peer\.example/))
  })

  it('who cannot be asked for keys', async () => {
    await expect(authenticate(signed(key, { origin: 'away.example' }))).rejects.toEqual(
      refused(/Cannot verify.*away\.example.*refused/),
    )
  })

  it('too many strangers at once', async () => {
    const answers: ((text: string) => void)[] = []
    const strangers = Array.from({ length: 60 }, (_, at) => `stranger${at}.example`)
    for (const name of strangers) {
      remote.answer(name, () => new Promise<string>((resolve) => void answers.push(() => resolve('x'))))
    }
    const outcomes = strangers.map((origin) =>
      authenticate(signed(key, { origin })).catch((error: { status: number }) => error.status),
    )
    await eventually('fifty are asked', () => answers.length === 50)
    answers.forEach((answer) => answer('x'))
    const statuses = await Promise.all(outcomes)
    expect(statuses.filter((status) => status === 429)).toHaveLength(10)
    expect(statuses.filter((status) => status === 401)).toHaveLength(50)
  })
})

describe('a body', () => {
  const neverRead = { length: 16 * 1024 * 1024, read: () => Promise.reject(new Error('it is read')) }
  const asking = (changes: Partial<ReceivedRequest>) => {
    const { method, uri, authorization } = signed()
    return auth.authenticate({ method, uri, authorization, body: neverRead, address: '192.0.2.1', ...changes })
  }

  it('is not read of whom it is not known who they could be', async () => {
    const elsewhere = signed(key, { destination: 'elsewhere.example' })
    const unknown = signed(newKey('unknown'))
    for (const authorization of [undefined, 'Bearer x', elsewhere.authorization, unknown.authorization]) {
      await expect(asking({ authorization })).rejects.toEqual(refused(/./))
    }
  })

  it('is signed when it is large, however it is written', async () => {
    const content = JSON.stringify({ pdus: Array.from({ length: 3_000 }, (_, depth) => ({ type: 'é', depth })) })
    const request = signed(key, { content })
    expect(await authenticate({ ...request, content })).toEqual({ serverName: peer })
    expect(await authenticate({ ...request, content: canonicalJson(JSON.parse(content) as JsonObject) })).toEqual({
      serverName: peer,
    })
    await expect(authenticate({ ...request, content: content.replace('2999', '3000') })).rejects.toEqual(
      refused(/signature/),
    )
  })

  it('that is large waits while four others from its address are in work, and nobody else does', async () => {
    await authenticate(signed())
    let begun = 0
    let answer!: (bytes: Buffer) => void
    const answered = new Promise<Buffer>((resolve) => (answer = resolve))
    const slow = {
      length: undefined,
      read: () => {
        begun++
        return answered
      },
    }
    const waiting = Array.from({ length: 5 }, () => asking({ body: slow }))
    await eventually('four are read', () => begun === 4)
    expect(await authenticate(signed())).toEqual({ serverName: peer })
    const other = asking({ body: slow, address: '192.0.2.2' })
    await eventually('one from elsewhere is read', () => begun === 5)
    answer(Buffer.from(signed().content!))
    for (const one of [...waiting, other]) expect(await one).toEqual({ serverName: peer })
    expect(begun).toBe(6)
  })
})

describe('keys', () => {
  it('count for requests when they are new', async () => {
    await authenticate(signed())
    const next = newKey('b')
    remote.publish(peer, next)
    expect(await authenticate(signed(next))).toEqual({ serverName: peer })
  })

  it('do not count for requests when they are old', async () => {
    const next = newKey('b')
    const answer = { keys: [next], old: [{ key, expiredTs: clock.now() + DAY }], validUntil: clock.now() + DAY }
    remote.answer(peer, JSON.stringify(keyAnswer(peer, answer)))
    await expect(authenticate(signed())).rejects.toEqual(refused(/ed25519:a of peer\.example has expired/))
    expect(await authenticate(signed(next))).toEqual({ serverName: peer })
  })

  it('do not count for requests when their time is over', async () => {
    await authenticate(signed())
    remote.fall(peer)
    clock.pass(DAY - 1)
    expect(await authenticate(signed())).toEqual({ serverName: peer })
    clock.pass(2)
    await expect(authenticate(signed())).rejects.toEqual(refused(/Cannot verify/))
  })

  it('that ended before they were published do not count', async () => {
    remote.answer(peer, JSON.stringify(keyAnswer(peer, { keys: [key], validUntil: clock.now() - 1 })))
    await expect(authenticate(signed())).rejects.toEqual(refused(/has expired/))
  })
})
