import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Examination, examine, type Report, reportText } from '../../src/command-line/doctor.js'
import { version } from '../../src/command-line/version.js'
import { Addresses } from '../../src/federation/addresses.js'
import type { SrvRecord } from '../../src/federation/discovery.js'
import { OutboundHttp } from '../../src/federation/outbound-http.js'
import { TestAuthority } from '../support/certificates.js'
import { unavailable } from '../../src/protocol/matrix-error.js'
import { HttpsServer, json, type Script } from '../support/https-server.js'
import { keyAnswer, newKey } from '../support/key-servers.js'

const HOUR = 3_600_000
const authority = new TestAuthority(90)
const folder = mkdtempSync(join(tmpdir(), 'hearth-doctor-'))
const trustedCaFile = join(folder, 'ca.pem')
writeFileSync(trustedCaFile, authority.cert)
afterAll(() => rmSync(folder, { recursive: true }))

const signingKey = newKey('a_ours')
const name = 'a.example'

let server: HttpsServer
let outbound: OutboundHttp
/** What is at port 443 of a host, which tests cannot listen to. */
let files: Map<string, { status?: number; text: string; headers?: Record<string, string> }>
let srv: Map<string, readonly SrvRecord[] | string>
let lookups: Map<string, readonly string[]>
let knownOnlyHere: Set<string>
let key: ReturnType<typeof newKey> | undefined

beforeAll(async () => {
  server = await HttpsServer.listening(authority, [name, 'b.example'])
})
afterAll(() => server.close())
beforeEach(() => {
  server.script = asHearth()
  server.asked.length = 0
  files = new Map([
    [`https://${name}/.well-known/matrix/server`, { text: JSON.stringify({ 'm.server': `b.example:${server.port}` }) }],
    [
      `https://${name}/.well-known/matrix/client`,
      {
        text: JSON.stringify({ 'm.homeserver': { base_url: 'https://b.example/' } }),
        headers: { 'access-control-allow-origin': '*' },
      },
    ],
    ['https://b.example/_matrix/client/versions', { text: '{"versions":["v1.1"]}' }],
  ])
  srv = new Map()
  knownOnlyHere = new Set()
  lookups = new Map(['a.example', 'b.example'].map((host) => [host, ['127.0.0.1']]))
  key = signingKey
  outbound = new OutboundHttp({
    addresses: new Addresses('all'),
    trustedCaFile,
    connectTimeout: 2_000,
    lookup: async (host) => {
      const found = lookups.get(host)
      if (found === undefined) throw new Error(`no ${host}`)
      return found
    },
  })
})
afterEach(() => outbound.close())

function asHearth({ as = name, keys = [signingKey], now = Date.now(), lifetime = 24 * HOUR } = {}): Script {
  return ({ url }, response) => {
    response.setHeader('date', new Date(now).toUTCString())
    if (url === '/_matrix/key/v2/server') json(response, keyAnswer(as, { keys, validUntil: now + lifetime }))
    else if (url === '/_matrix/federation/v1/version')
      json(response, { server: { name: 'Hearth', version: version() } })
    else json(response, { errcode: 'M_UNRECOGNIZED' }, 404)
  }
}

const absent = () => Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' })

async function examined(change: Partial<Examination['config']> = {}): Promise<Report> {
  const config = {
    serverName: name,
    publicBaseUrl: 'https://b.example',
    http: { listen: { host: '127.0.0.1', port: 0 }, tls: undefined, trustedProxies: [], rateLimits: true },
    outbound: { trustedCaFile, allow: ['127.0.0.0/8'] },
    ...change,
  }
  const http: Examination['http'] = {
    request: (target, request) => outbound.request(target, request),
    inspect: (target) => outbound.inspect(target),
    async get(url) {
      const file = files.get(url.href)
      if (file === undefined) throw new Error('connect ECONNREFUSED')
      return { status: 200, headers: {}, ...file }
    },
  }
  const resolveSrv: Examination['resolveSrv'] = async (of) => {
    const records = srv.get(of)
    if (records === undefined) throw absent()
    if (typeof records === 'string') throw Object.assign(new Error(records), { code: records })
    return records
  }
  return examine({ config, signingKey: key, http, resolveSrv, knownOnlyHere, now: Date.now })
}

const about = ({ findings }: Report, what: string) => findings.filter((finding) => finding.about === what)
const notGood = ({ findings }: Report) => findings.filter(({ verdict }) => verdict === 'wrong' || verdict === 'doubt')

describe('a server that others reach', () => {
  it('has nothing wrong, step by step', async () => {
    const report = await examined()
    expect(notGood(report)).toEqual([])
    expect(report.isReachable).toBe(true)
    expect(reportText(report).replaceAll(String(server.port), 'PORT').split('\n')).toMatchObject([
      'What other servers see of a.example, as far as this machine can tell:',
      '',
      expect.stringMatching(/^ {2}- +This machine/),
      expect.stringMatching(/^ {2}ok +SERVER_NAME +a\.example; users are @name:a\.example$/),
      expect.stringMatching(/^ {2}ok +Well-known +https:\/\/a\.example\/\S+ sends other servers to b\.example:PORT$/),
      expect.stringMatching(/^ {2}- +SRV record +not looked up/),
      expect.stringMatching(/^ {2}ok +Address +b\.example is 127\.0\.0\.1$/),
      expect.stringMatching(/^ {2}ok +Connection +127\.0\.0\.1 port PORT answers$/),
      expect.stringMatching(/^ {2}ok +Certificate +for a\.example, b\.example, until \d{4}-\d\d-\d\d, of an authority/),
      expect.stringMatching(/^ {2}ok +Keys +ed25519:a_ours, valid until \S+Z: ours$/),
      expect.stringMatching(/^ {2}ok +Version +Hearth /),
      expect.stringMatching(/^ {2}ok +Clock /),
      expect.stringMatching(/^ {2}ok +PUBLIC_BASE_URL +https:\/\/b\.example answers$/),
      expect.stringMatching(
        /^ {2}ok +Client log-in +https:\/\/a\.example\/\S+ sends clients to https:\/\/b\.example\//,
      ),
      '',
      'Other servers can reach a.example.',
      '',
    ])
  })

  it('may be found by an SRV record', async () => {
    files.delete(`https://${name}/.well-known/matrix/server`)
    srv.set('_matrix-fed._tcp.a.example', [{ name: 'b.example', port: server.port, priority: 1, weight: 1 }])
    const report = await examined()
    expect(report.isReachable).toBe(true)
    expect(about(report, 'SRV record')).toMatchObject([
      { verdict: 'good', text: `_matrix-fed._tcp.a.example says b.example port ${server.port}` },
    ])
    expect(about(report, 'Well-known')).toMatchObject([
      { verdict: 'doubt', advice: expect.stringContaining('{"m.server":"b.example:443"}') },
    ])
  })

  it('may have a port in its name, and needs nothing else then', async () => {
    const report = await examined({ serverName: `a.example:${server.port}`, publicBaseUrl: 'https://b.example' })
    expect(about(report, 'Well-known')).toMatchObject([{ verdict: 'skipped' }])
    expect(about(report, 'Keys')).toMatchObject([{ verdict: 'wrong', text: expect.stringContaining('another server') }])
    server.script = asHearth({ as: `a.example:${server.port}` })
    expect((await examined({ serverName: `a.example:${server.port}` })).isReachable).toBe(true)
  })

  it('may run before anybody here has its key', async () => {
    key = undefined
    const report = await examined()
    expect(report.isReachable).toBe(true)
    expect(about(report, 'Keys')).toMatchObject([{ verdict: 'skipped' }])
  })
})

describe('names', () => {
  it.each(['localhost', 'localhost:8448', 'matrix.localhost'])('%s is on no federation', async (serverName) => {
    const report = await examined({ serverName })
    expect(report).toMatchObject({ isReachable: false })
    expect(about(report, 'SERVER_NAME')).toMatchObject([{ verdict: 'wrong' }])
    expect(server.asked).toEqual([])
    expect(report.findings).toHaveLength(2)
  })

  it('without an address are said to need one', async () => {
    lookups.delete('b.example')
    const report = await examined()
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Address')).toMatchObject([
      { verdict: 'wrong', text: 'b.example has no address', advice: expect.stringContaining('A record') },
    ])
    expect(about(report, 'Keys')).toEqual([])
  })

  it('that lead to private addresses lead nobody here, unless the operator says that they do', async () => {
    const report = await examined({ outbound: { trustedCaFile, allow: [] } })
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Address')).toMatchObject([{ verdict: 'wrong', text: expect.stringContaining('127.0.0.1') }])
    expect(about(report, 'Keys')).toMatchObject([{ verdict: 'good' }])
  })

  it('that only this machine knows are no names for others', async () => {
    knownOnlyHere.add('b.example')
    expect(about(await examined(), 'Address')).toMatchObject([
      { verdict: 'doubt', text: expect.stringContaining('/etc/hosts') },
    ])
  })

  it('whose name servers are down are told from those that have no record', async () => {
    files.delete(`https://${name}/.well-known/matrix/server`)
    srv.set('_matrix-fed._tcp.a.example', 'ESERVFAIL')
    expect(about(await examined(), 'SRV record')).toMatchObject([
      { verdict: 'doubt', text: expect.stringContaining('ESERVFAIL') },
    ])
  })

  it.each([
    ['is no JSON', { text: '<html>' }, 'answers, but not with'],
    ['is missing', { status: 404, text: '' }, 'answers 404'],
  ])('with a well-known file that %s say what it ought to be', async (_what, file, seen) => {
    files.set(`https://${name}/.well-known/matrix/server`, file)
    expect(about(await examined(), 'Well-known')).toMatchObject([
      {
        verdict: 'doubt',
        text: expect.stringContaining(seen),
        advice: expect.stringContaining('{"m.server":"b.example:443"}'),
      },
    ])
  })
})

describe('connections', () => {
  it('that nobody takes are wrong', async () => {
    await moveTo(1)
    const report = await examined()
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Connection')).toMatchObject([
      {
        verdict: 'wrong',
        text: expect.stringContaining('ECONNREFUSED'),
        advice: expect.stringContaining('TLS_LISTEN=0.0.0.0:1,'),
      },
    ])
  })

  it('of one address that fails beside one that answers are doubtful', async () => {
    lookups.set('b.example', ['127.0.0.9', '127.0.0.1'])
    const report = await examined()
    expect(report.isReachable).toBe(true)
    expect(about(report, 'Connection').map(({ verdict }) => verdict)).toEqual(['doubt', 'good'])
    expect(about(report, 'Certificate')).toHaveLength(1)
  })

  it('to plain HTTP are told from silence', async () => {
    const plain = createHttpServer((_request, response) => void response.end())
    await once(plain.listen(0, '127.0.0.1'), 'listening')
    await moveTo((plain.address() as AddressInfo).port)
    expect(about(await examined(), 'Connection')).toMatchObject([
      { verdict: 'wrong', advice: expect.stringContaining('not with TLS') },
    ])
    plain.close()
  })

  it('that are dropped speak of firewalls', async () => {
    const silent = createServer((socket) => void socket.resume())
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    await moveTo((silent.address() as AddressInfo).port)
    await outbound.close()
    outbound = new OutboundHttp({
      addresses: new Addresses('all'),
      connectTimeout: 50,
      lookup: async () => ['127.0.0.1'],
    })
    expect(about(await examined(), 'Connection')).toMatchObject([
      { verdict: 'wrong', advice: expect.stringContaining('firewall') },
    ])
    silent.close()
  })

  async function moveTo(port: number): Promise<void> {
    files.set(`https://${name}/.well-known/matrix/server`, { text: `{"m.server":"b.example:${port}"}` })
  }
})

describe('certificates', () => {
  const showing = async (by: TestAuthority, ...names: string[]): Promise<Report> => {
    const other = await HttpsServer.listening(by, names)
    other.script = asHearth()
    files.set(`https://${name}/.well-known/matrix/server`, { text: `{"m.server":"b.example:${other.port}"}` })
    const report = await examined()
    await other.close()
    expect(other.asked).toHaveLength(report.isReachable ? 2 : 0)
    return report
  }

  it('for another name than the one that is wanted are wrong', async () => {
    const report = await showing(authority, 'a.example')
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Certificate')).toMatchObject([
      {
        verdict: 'wrong',
        text: expect.stringContaining('for a.example, until'),
        advice: expect.stringContaining('for b.example'),
      },
    ])
  })

  it('of an authority that nobody trusts are wrong', async () => {
    const report = await showing(new TestAuthority(90), 'b.example')
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Certificate')).toMatchObject([
      { verdict: 'wrong', advice: expect.stringContaining('full chain') },
    ])
  })

  const lasting = async (days: number): Promise<Report> => {
    const other = new TestAuthority(days)
    writeFileSync(join(folder, 'other.pem'), other.cert)
    await outbound.close()
    outbound = new OutboundHttp({
      addresses: new Addresses('all'),
      trustedCaFile: join(folder, 'other.pem'),
      lookup: async () => ['127.0.0.1'],
    })
    return showing(other, 'b.example')
  }

  it('that have expired are wrong', async () => {
    const report = await lasting(-0.5)
    expect(report.isReachable).toBe(false)
    expect(about(report, 'Certificate')).toMatchObject([
      { verdict: 'wrong', advice: expect.stringMatching(/^It has expired/) },
    ])
  })

  it('that soon expire are doubtful', async () => {
    const report = await lasting(3.5)
    expect(report.isReachable).toBe(true)
    expect(about(report, 'Certificate')).toMatchObject([
      { verdict: 'doubt', text: expect.stringContaining('3 days are left') },
    ])
  })
})

describe('what answers', () => {
  const answeredBy = async (script: Script, what: string) => {
    server.script = script
    const report = await examined()
    return { isReachable: report.isReachable, finding: about(report, what)[0] }
  }

  it.each<[string, Script, string]>([
    ['with another key', asHearth({ keys: [newKey('a_else')] }), 'refuse what this one signs'],
    ['as another server', asHearth({ as: 'c.example' }), 'Something else than the Hearth of a.example'],
    ['with keys that are expired', asHearth({ lifetime: -HOUR }), 'clock'],
    ['with a page', (_asked, response) => void response.end('<html>'), 'Something else than the Hearth'],
    ['not found', (_asked, response) => json(response, {}, 404), 'must pass everything below /_matrix'],
    ['as a proxy with nothing behind it', (_asked, response) => json(response, {}, 502), 'does not reach Hearth'],
    [
      'without its database',
      (_asked, response) => json(response, unavailable().json(), 503),
      'Postgres of DATABASE_URL',
    ],
  ])('%s is wrong', async (_how, script, advice) => {
    expect(await answeredBy(script, 'Keys')).toMatchObject({
      isReachable: false,
      finding: { verdict: 'wrong', advice: expect.stringContaining(advice) },
    })
  })

  it.each([
    [-HOUR, /3[56]\d\d s behind/],
    [HOUR, /3[56]\d\d s ahead of/],
  ])('with a clock that is %d ms off is doubtful', async (off, text) => {
    expect(await answeredBy(asHearth({ now: Date.now() + off }), 'Clock')).toMatchObject({
      isReachable: true,
      finding: { verdict: 'doubt', text: expect.stringMatching(text) },
    })
  })

  it('as something else than this Hearth is doubtful', async () => {
    const hearth = asHearth()
    const other: Script = (asked, response) =>
      asked.url.endsWith('/version')
        ? json(response, { server: { name: 'Other', version: '7' } })
        : hearth(asked, response)
    expect(await answeredBy(other, 'Version')).toMatchObject({
      isReachable: true,
      finding: { verdict: 'doubt', text: expect.stringMatching(/^Other 7 answers; this is Hearth /) },
    })
  })
})

describe('what clients find', () => {
  it.each<[string, string, { status?: number; text: string; headers?: Record<string, string> }, string]>([
    ['no file', '/.well-known/matrix/client', { status: 404, text: '' }, 'Client log-in'],
    [
      'another server',
      '/.well-known/matrix/client',
      { text: '{"m.homeserver":{"base_url":"https://c.example"}}' },
      'Client log-in',
    ],
    [
      'a file that browsers refuse',
      '/.well-known/matrix/client',
      { text: '{"m.homeserver":{"base_url":"https://b.example"}}' },
      'Client log-in',
    ],
  ])('%s is doubtful, and keeps no server away', async (_what, path, file, which) => {
    files.set(`https://${name}${path}`, file)
    const report = await examined()
    expect(report.isReachable).toBe(true)
    expect(notGood(report)).toMatchObject([{ about: which, verdict: 'doubt', advice: expect.any(String) }])
  })

  it.each([
    ['http://b.example', 'is not https:'],
    ['https://c.example', 'cannot be had'],
  ])('a PUBLIC_BASE_URL as %s is doubtful', async (publicBaseUrl, text) => {
    const [finding] = about(await examined({ publicBaseUrl }), 'PUBLIC_BASE_URL')
    expect(finding).toMatchObject({ verdict: 'doubt', text: expect.stringContaining(text) })
  })

  it('a PUBLIC_BASE_URL with a path is not told to servers', async () => {
    files.set('https://b.example/matrix/_matrix/client/versions', { text: '{"versions":[]}' })
    const [finding] = about(await examined({ publicBaseUrl: 'https://b.example/matrix' }), 'PUBLIC_BASE_URL')
    expect(finding).toMatchObject({ verdict: 'doubt', text: expect.stringContaining('has a path') })
  })
})

describe('this machine', () => {
  const heard = async (answer: unknown, status = 200) => {
    const here = createHttpServer((_request, response) => {
      response.writeHead(status).end(JSON.stringify(answer))
    })
    await once(here.listen(0, '127.0.0.1'), 'listening')
    const { port } = here.address() as AddressInfo
    const look = () =>
      examined({ http: { listen: { host: '0.0.0.0', port }, tls: undefined, trustedProxies: [], rateLimits: true } })
    const [running] = about(await look(), 'This machine')
    here.close()
    here.closeAllConnections()
    await once(here, 'close')
    const [ended] = about(await look(), 'This machine')
    return { running, ended }
  }

  it('is asked whether the server runs there', async () => {
    const { running, ended } = await heard({ server_name: name })
    expect(running).toMatchObject({ verdict: 'good', text: expect.stringContaining('the server runs here') })
    expect(ended).toMatchObject({ verdict: 'doubt', text: expect.stringContaining('does not run here') })
  })

  it('may run the server without its database', async () => {
    expect((await heard(unavailable().json(), 503)).running).toMatchObject({
      verdict: 'doubt',
      text: expect.stringContaining('cannot reach its database'),
      advice: expect.stringContaining('DATABASE_URL'),
    })
  })

  it('may run something else', async () => {
    expect((await heard({})).running).toMatchObject({
      verdict: 'doubt',
      text: expect.stringContaining('something else'),
    })
  })
})

it('writes nothing to the terminal that another server chose to', () => {
  const finding = { about: 'Keys', verdict: 'wrong', text: 'x\u001b[2J\r\ny', advice: 'z\u0007' } as const
  expect(reportText({ serverName: name, isReachable: false, findings: [finding] })).not.toMatch(/[^\P{Cc}\n]/u)
})
