import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Addresses } from '../../src/federation/addresses.js'
import { OutboundHttp, textOf, type OutboundRequest, type Target } from '../../src/federation/outbound-http.js'
import { TestAuthority } from '../support/certificates.js'
import { eventually } from '../support/eventually.js'
import { HttpsServer, json } from '../support/https-server.js'

const authority = new TestAuthority()
const folder = mkdtempSync(join(tmpdir(), 'hearth-outbound-'))
const trustedCaFile = join(folder, 'ca.pem')
writeFileSync(trustedCaFile, authority.cert)
afterAll(() => rmSync(folder, { recursive: true }))

let server: HttpsServer
let lookups: Map<string, readonly string[]>
let http: OutboundHttp

const outbound = (allow: readonly string[] | 'all', connectTimeout = 5_000) =>
  new OutboundHttp({
    addresses: new Addresses(allow),
    trustedCaFile,
    connectTimeout,
    lookup: async (host) => {
      const found = lookups.get(host)
      if (found === undefined) throw new Error(`no ${host}`)
      return found
    },
  })

beforeAll(async () => {
  server = await HttpsServer.listening(authority, ['a.example', '127.0.0.1'])
})
afterAll(() => server.close())
beforeEach(() => {
  lookups = new Map([['a.example', ['127.0.0.1']]])
  http = outbound(['127.0.0.0/8'])
  server.asked.length = 0
  server.connections = 0
  server.script = (_asked, response) => json(response, { ok: true })
})
afterEach(() => http.close())

const target = (change: Partial<Target> = {}): Target => ({
  certificateName: 'a.example',
  host: 'a.example',
  places: [{ host: 'a.example', port: server.port }],
  ...change,
})

const get = { method: 'GET', path: '/x', timeout: 5_000, maxBytes: 100_000 } as const

async function ask(to: Target, change: Partial<OutboundRequest> = {}, signal?: AbortSignal) {
  const { status, body } = await http.request(to, { ...get, ...change }, signal)
  return { status, text: await textOf(body) }
}

describe('what a server is told', () => {
  it('is the name that was asked for, wherever that name led', async () => {
    lookups.set('elsewhere.example', ['127.0.0.1'])
    const places = [{ host: 'elsewhere.example', port: server.port }]
    expect(await ask(target({ host: 'a.example:1234', places }))).toEqual({ status: 200, text: '{"ok":true}' })
    expect(server.asked[0]).toMatchObject({ method: 'GET', url: '/x', sni: 'a.example' })
    expect(server.asked[0]!.headers.host).toBe('a.example:1234')
  })

  it('is no name in the handshake where that is an address', async () => {
    const places = [{ host: '127.0.0.1', port: server.port }]
    await ask(target({ certificateName: '127.0.0.1', host: '127.0.0.1', places }))
    expect(server.asked[0]).toMatchObject({ sni: false })
  })

  it('has the length of the body', async () => {
    await ask(target(), { method: 'PUT', body: '{"text":"é"}' })
    const { headers, body } = server.asked[0]!
    expect(headers).toMatchObject({ 'content-length': '13', 'content-type': 'application/json' })
    expect(headers['transfer-encoding']).toBeUndefined()
    expect(body).toBe('{"text":"é"}')
  })
})

describe('certificates', () => {
  it('are refused when they are for another name', async () => {
    lookups.set('b.example', ['127.0.0.1'])
    const places = [{ host: 'b.example', port: server.port }]
    await expect(ask(target({ certificateName: 'b.example', places }))).rejects.toThrow(/altnames/)
    const other = await HttpsServer.listening(authority, ['127.0.0.2'])
    const address = { certificateName: '127.0.0.1', host: '127.0.0.1' }
    await expect(ask(target({ ...address, places: [{ host: '127.0.0.1', port: other.port }] }))).rejects.toThrow(/IP/)
    expect(server.asked).toEqual([])
    expect(other.asked).toEqual([])
    await other.close()
  })

  it('are refused when nobody trusted signed them', async () => {
    await http.close()
    http = new OutboundHttp({ addresses: new Addresses('all'), lookup: async () => ['127.0.0.1'] })
    await expect(ask(target())).rejects.toThrow(/certificate/)
    expect(server.asked).toEqual([])
  })
})

describe('addresses', () => {
  it('that requests may not go to are not connected to, as literals or by name', async () => {
    await http.close()
    http = outbound([])
    for (const host of ['127.0.0.1', '::ffff:127.0.0.1', 'a.example']) {
      const places = [{ host, port: server.port }]
      await expect(ask(target({ places }))).rejects.toThrow(/may not go to/)
    }
    expect(server.connections).toBe(0)
  })

  it('are looked up by number too, however it is written', async () => {
    await http.close()
    http = new OutboundHttp({ addresses: new Addresses([]), trustedCaFile })
    for (const host of ['2130706433', '0x7f.1', '127.1', '0', 'localhost']) {
      const places = [{ host, port: server.port }]
      await expect(ask(target({ places }))).rejects.toThrow(/may not go to|ENOTFOUND|EAI_AGAIN/)
    }
    expect(server.connections).toBe(0)
  })

  it('are tried in turn, and so are places', async () => {
    lookups.set('a.example', ['10.0.0.1', '127.0.0.9', '127.0.0.1'])
    const places = [
      { host: 'unknown.example', port: 1 },
      { host: 'a.example', port: server.port },
    ]
    expect(await ask(target({ places }))).toMatchObject({ status: 200 })
  })

  it('that say nothing leave time for those that do', async () => {
    const silent = createTcpServer((socket) => void socket.resume())
    await once(silent.listen(server.port, '127.0.0.9'), 'listening')
    lookups.set('a.example', ['127.0.0.9', '127.0.0.1'])
    await http.close()
    http = outbound('all', 500)
    expect(await ask(target())).toMatchObject({ status: 200 })
    lookups.set('a.example', ['127.0.0.9'])
    await http.close()
    http = outbound('all', 100)
    await expect(ask(target())).rejects.toThrow('127.0.0.9 port')
    silent.close()
  })

  it('are not tried without end', async () => {
    const many = Array.from({ length: 100 }, (_, at) => `127.0.1.${at}`)
    lookups.set('a.example', [...many, '127.0.0.1'])
    await expect(ask(target())).rejects.toThrow(/ECONNREFUSED/)
  })

  it('of a server are all told when none answers', async () => {
    lookups.set('a.example', ['127.0.0.8', '127.0.0.9'])
    await expect(ask(target())).rejects.toThrow(/127\.0\.0\.8 port .*ECONNREFUSED.*; 127\.0\.0\.9 port/)
  })
})

describe('connections', () => {
  it('are kept', async () => {
    for (let count = 0; count < 3; count++) await ask(target())
    expect(server.connections).toBe(1)
  })

  it('are few, however much is asked', async () => {
    await Promise.all(Array.from({ length: 40 }, () => ask(target())))
    expect(server.asked).toHaveLength(40)
    expect(server.connections).toBeLessThanOrEqual(4)
  })

  it('that the server has closed meanwhile are made again', async () => {
    await ask(target())
    for (let count = 0; count < 5; count++) {
      server.dropConnections()
      expect(await ask(target())).toMatchObject({ status: 200 })
    }
  })

  it('are not kept to a server whose answer broke off', async () => {
    server.script = (_asked, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"a":')
      setImmediate(() => response.destroy())
    }
    await expect(ask(target())).rejects.toThrow()
  })
})

describe('an answer', () => {
  it('is unpacked', async () => {
    server.script = ({ headers }, response) => {
      expect(headers['accept-encoding']).toBe('gzip')
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{"packed":"é"}'))
    }
    expect((await ask(target())).text).toBe('{"packed":"é"}')
  })

  it.each<[string, (response: ServerResponse) => void, RegExp]>([
    [
      'announces too much',
      (response) => response.writeHead(200, { 'content-length': '200000' }).end('x'.repeat(200_000)),
      /more than 100000 bytes/,
    ],
    ['is endless', (response) => pourInto(response, 'x'.repeat(10_000)), /more than 100000 bytes/],
    [
      'is a gzip bomb',
      (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('0'.repeat(10_000_000))),
      /more than 100000 bytes/,
    ],
    [
      'is packed nothing without end',
      (response) => pourInto(response.writeHead(200, { 'content-encoding': 'gzip' }), nothingPacked()),
      /more than 100000 bytes/,
    ],
    [
      'is packed badly',
      (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip'),
      /header/,
    ],
    [
      'is packed in a way not asked for',
      (response) => response.writeHead(200, { 'content-encoding': 'br' }).end('x'),
      /encoding br/,
    ],
    ['is no UTF-8', (response) => response.writeHead(200).end(Buffer.from([0x22, 0xff, 0x22])), /not UTF-8/],
    ['ends inside a character', (response) => response.writeHead(200).end(Buffer.from([0x22, 0xc3])), /not UTF-8/],
    [
      'has endless headers',
      (response) => response.writeHead(200, { 'x-y': 'y'.repeat(100_000) }).end(),
      /Header|header/,
    ],
    ['is no HTTP', (response) => response.socket?.end('SSH-2.0-x\r\n'), /./],
  ])('that %s is refused', async (_what, answer, message) => {
    server.script = (_asked, response) => answer(response)
    await expect(ask(target())).rejects.toThrow(message)
    server.script = (_asked, response) => json(response, { ok: true })
    expect(await ask(target())).toMatchObject({ status: 200 })
  })

  it('that does not come, or drips, is given up when its time is over', async () => {
    server.script = () => {}
    await expect(ask(target(), { timeout: 50 })).rejects.toThrow(/within 50 ms/)
    server.script = (_asked, response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write(' '), 10)
      response.on('close', () => clearInterval(drip))
    }
    await expect(ask(target(), { timeout: 200 })).rejects.toThrow(/within 200 ms/)
  })

  it('from what listens and says nothing is given up', async () => {
    const silent = createTcpServer((socket) => void socket.resume())
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const places = [{ host: 'a.example', port: (silent.address() as AddressInfo).port }]
    await expect(ask(target({ places }), { timeout: 100 })).rejects.toThrow(/within 100 ms/)
    silent.close()
  })

  it('is given up with the reason of whoever gives it up, before and after it began', async () => {
    server.script = () => {}
    const before = new AbortController()
    const waiting = ask(target(), {}, before.signal)
    await eventually('the server is asked', () => server.asked.length === 1)
    before.abort(new Error('not needed'))
    await expect(waiting).rejects.toThrow('not needed')

    server.script = (_asked, response) => void response.writeHead(200).write('{')
    const after = new AbortController()
    const { body } = await http.request(target(), get, after.signal)
    const reading = textOf(body)
    after.abort(new Error('not needed now'))
    await expect(reading).rejects.toThrow('not needed now')
    await expect(ask(target(), {}, after.signal)).rejects.toThrow('not needed now')
  })

  it('that nobody reads any more lets its connection go', async () => {
    let closed = false
    server.script = (_asked, response) => {
      response.on('close', () => (closed = true))
      pourInto(response, 'x'.repeat(1000))
    }
    const { body } = await http.request(target(), { ...get, maxBytes: 1e12 })
    body.destroy()
    await eventually('the connection is closed', () => closed)
  })

  it('that is a redirect is an answer like others', async () => {
    server.script = (_asked, response) => json(response, {}, 302, { location: `https://a.example:${server.port}/y` })
    expect(await ask(target())).toMatchObject({ status: 302 })
    expect(server.asked).toHaveLength(1)
  })
})

describe('a URL', () => {
  const limits = { timeout: 5_000, maxBytes: 50_000, redirects: 3 }
  const url = (path: string) => new URL(`https://a.example:${server.port}${path}`)

  it('is followed where it is redirected to, so often and no more', async () => {
    server.script = ({ url }, response) => {
      const left = Number(url.slice(1))
      if (left === 0) json(response, { found: true })
      else json(response, {}, 302, { location: `/${left - 1}` })
    }
    expect(await http.get(url('/3'), limits)).toMatchObject({ status: 200, text: '{"found":true}' })
    await expect(http.get(url('/4'), limits)).rejects.toThrow(/more than 3 redirects/)
  })

  it.each([
    ['a private address', 'https://10.0.0.1/', /may not go to/],
    ['a private address in another form', 'https://0x0a000001/', /may not go to/],
    ['an address inside another', 'https://[::ffff:169.254.169.254]/', /may not go to/],
    ['a name of a private address', 'https://inside.example/', /may not go to/],
    ['plain HTTP', 'http://a.example/', /not https/],
    ['a file', 'file:///etc/passwd', /not https/],
    ['nonsense', 'https://[', /URL/],
  ])('is not followed to %s', async (_what, location, message) => {
    lookups.set('inside.example', ['192.168.0.1'])
    server.script = (_asked, response) => json(response, {}, 307, { location })
    await expect(http.get(url('/'), limits)).rejects.toThrow(message)
  })

  it('is not read beyond its limits, a redirect not at all', async () => {
    server.script = ({ url }, response) => {
      if (url === '/') response.writeHead(302, { location: '/big' })
      pourInto(response, 'x'.repeat(10_000))
    }
    await expect(http.get(url('/'), limits)).rejects.toThrow(/more than 50000 bytes/)
  })

  it('has one time for all its redirects', async () => {
    server.script = (_asked, response) => void setTimeout(() => json(response, {}, 302, { location: '/' }), 60)
    await expect(http.get(url('/'), { ...limits, redirects: 100, timeout: 200 })).rejects.toThrow(/within/)
  })
})

/** For as long as anybody takes it. */
function pourInto(response: ServerResponse, chunk: string | Buffer): void {
  const pour = () => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', pour)
  pour()
}

/** Many whole gzip files of nothing: what they unpack to never grows. */
const nothingPacked = (): Buffer => Buffer.concat(Array<Buffer>(500).fill(gzipSync('')))
