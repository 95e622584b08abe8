import { spawnSync } from 'node:child_process'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { concurrently } from '../../scripts/bench/concurrently.js'
import { growth } from '../../scripts/bench/database-growth.js'
import { ErrorLog } from '../../scripts/bench/errors.js'
import { Connection, ConnectionClosed, requestText } from '../../scripts/bench/http/connection.js'
import { HttpSyntaxError, ResponseParser, type Answer } from '../../scripts/bench/http/response-parser.js'
import { nextBatch } from '../../scripts/bench/matrix.js'
import { formatFigure, table } from '../../scripts/bench/report.js'
import { measure, type Subject } from '../../scripts/bench/rounds.js'
import { timing } from '../../scripts/bench/scenarios/join-storm.js'
import { median, medianRatio, medians, percentile } from '../../scripts/bench/stats.js'
import { assign, loopbackDatabase, loopbackEndpoint, resolveTargets, UsageError } from '../../scripts/bench/target.js'
import { packageFolder } from '../../src/package-folder.js'

describe('the statistics of the bench', () => {
  it('takes percentiles by nearest rank, whatever the order of the samples', () => {
    const samples = [5, 1, 4, 2, 3]
    expect(percentile(samples, 0.5)).toBe(3)
    expect(percentile(samples, 0.99)).toBe(5)
    expect(percentile(samples, 0)).toBe(1)
    expect(percentile([], 0.5)).toBeUndefined()
  })

  it('gives a percentile that the share of the samples does not exceed, and no smaller sample does so', () => {
    const samples = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1 })
    const property = fc.property(samples, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
      const value = percentile(values, share)!
      const within = (limit: number) => values.filter((one) => one <= limit).length / values.length
      expect(within(value)).toBeGreaterThanOrEqual(share - 1e-9)
      expect(within(value - 0.5)).toBeLessThan(share)
    })
    fc.assert(property, { seed: 1 })
  })

  it('takes the middle of the rounds, and the mean of the two middle ones', () => {
    expect(median([9, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 100])).toBe(3)
    expect(median([undefined, 7])).toBe(7)
    expect(median([])).toBeUndefined()
  })

  it('leaves a figure undefined that no round has', () => {
    expect(medians([{ a: 1, b: undefined }, { a: 3 }])).toEqual({ a: 2, b: undefined })
  })

  it('compares rounds that ran next to each other, not medians', () => {
    const slow = [{ rate: 10 }, { rate: 40 }, { rate: 80 }]
    const fast = [{ rate: 20 }, { rate: 100 }, { rate: 100 }]
    expect(medianRatio(slow, fast, 'rate')).toBe(0.5)
    expect(medianRatio(slow, [{ rate: 0 }], 'rate')).toBeUndefined()
  })

  it('compares the last thousand joins with the first thousand', () => {
    const ends = Array.from({ length: 3000 }, (_, join) => (join < 2000 ? join + 1 : 2000 + (join - 1999) * 2))
    expect(timing([1], ends)).toMatchObject({ first: 1, last: 2, lastToFirst: 2, rate: 750 })
  })

  it('counts the growth of each table, of new ones too, the largest first', () => {
    const before = new Map(Object.entries({ event: 100, room: 50, user: 10 }))
    const after = new Map(Object.entries({ event: 120, room: 50, user: 5, member: 70 }))
    expect(growth(before, after)).toEqual([
      ['member', 70],
      ['event', 20],
      ['user', -5],
    ])
  })

  it('prints columns of equal width and a dash for what is not known', () => {
    const rows = [
      ['', 'rate'],
      ['hearth', formatFigure(1234.56, 1)],
      ['other', formatFigure(undefined, 0)],
    ]
    expect(table(rows)).toEqual(['           rate', 'hearth  1,234.6', 'other         –'])
  })
})

describe('the response parser of the bench', () => {
  const whole: [string, string, Partial<Answer> & { text: string }][] = [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', { status: 200, keepAlive: true, text: 'hello' }],
    ['no body', 'HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n', { status: 200, text: '' }],
    ['a status without body', 'HTTP/1.1 204 No Content\r\nX: y\r\n\r\n', { status: 204, text: '' }],
    [
      'chunks, extensions and trailers',
      'HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n, my world\r\n0\r\nX: y\r\n\r\n',
      { status: 403, text: 'hello, my world' },
    ],
    [
      'a closing server',
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx',
      { keepAlive: false, text: 'x' },
    ],
    ['an old server', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', { keepAlive: false, text: 'x' }],
    [
      'an interim response',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      { text: 'ok' },
    ],
  ]

  it.each(whole)('reads a response with %s, in one piece and cut anywhere', (_name, wire, expected) => {
    const bytes = Buffer.from(wire)
    for (let cut = 0; cut < bytes.length; cut++) {
      const answer = feed(new ResponseParser(), [bytes.subarray(0, cut), bytes.subarray(cut)])
      expect({ ...answer, text: answer?.body.toString() }).toMatchObject(expected)
    }
    const single = feed(
      new ResponseParser(),
      Array.from(bytes, (byte) => Buffer.of(byte)),
    )
    expect({ ...single, text: single?.body.toString() }).toMatchObject(expected)
  })

  it('reads one response after the other', () => {
    const parser = new ResponseParser()
    for (const [, wire, { text }] of whole) expect(feed(parser, [Buffer.from(wire)])?.body.toString()).toBe(text)
    expect(parser.idle).toBe(true)
  })

  it('keeps its own copy of the bytes', () => {
    const parser = new ResponseParser()
    const shared = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc')
    expect(parser.push(shared)).toBeUndefined()
    shared.fill('x')
    expect(parser.push(Buffer.from('def'))?.body.toString()).toBe('abcdef')
  })

  it('takes the end of the connection for the end of a body that has no other', () => {
    const parser = new ResponseParser()
    expect(parser.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\nto the '))).toBeUndefined()
    parser.push(Buffer.from('end'))
    expect(parser.end()?.body.toString()).toBe('to the end')
  })

  it('does not take the end of the connection for the end of a body with a length', () => {
    const parser = new ResponseParser()
    parser.push(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nto the '))
    expect(parser.end()).toBeUndefined()
  })

  it.each([
    ['what is not HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['bytes behind the response', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy'],
    ['a chunk size that is none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n'],
    ['a chunk longer than its size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\n${'x'.repeat(70_000)}`],
  ])('refuses %s', (_name, wire) => {
    expect(() => new ResponseParser().push(Buffer.from(wire))).toThrow(HttpSyntaxError)
  })

  function feed(parser: ResponseParser, pieces: readonly Buffer[]): Answer | undefined {
    let answer: Answer | undefined
    for (const piece of pieces) answer = parser.push(piece) ?? answer
    return answer
  }
})

describe('a connection of the bench', () => {
  let server: Server | undefined
  const connections: Connection[] = []

  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.close()
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
    server = undefined
  })

  /** A server that does with the n-th request of its n-th connection as it is told, by connection. */
  async function connect(answer: (socket: Socket, connection: number, request: number) => void, timeoutMs?: number) {
    let accepted = 0
    server = createServer((socket) => {
      const connection = accepted++
      let requests = 0
      socket.on('error', () => {})
      socket.on('data', () => answer(socket, connection, requests++))
    })
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const connection = new Connection({ address: '127.0.0.1', port, host: 'test', basePath: '' }, timeoutMs)
    connections.push(connection)
    const request = (method: string) => connection.request(requestText(connection.endpoint, method, '/path'))
    return { connection, request }
  }

  const reply = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`

  it('is kept for the next request', async () => {
    const { request } = await connect((socket, connection, count) => socket.write(reply(`${connection}.${count}`)))
    expect((await request('GET')).body.toString()).toBe('0.0')
    expect((await request('POST')).body.toString()).toBe('0.1')
  })

  it('is made anew when the server asks for its end', async () => {
    const closing = (body: string) => reply(body).replace('\r\n', '\r\nConnection: close\r\n')
    const { request } = await connect((socket, connection) => socket.write(closing(String(connection))))
    expect((await request('POST')).body.toString()).toBe('0')
    expect((await request('POST')).body.toString()).toBe('1')
  })

  it('repeats a request that changes nothing when repeated, if the server closed a kept connection meanwhile', async () => {
    const { request } = await connect((socket, connection, count) =>
      count === 0 ? socket.write(reply(String(connection))) : socket.destroy(),
    )
    expect((await request('PUT')).body.toString()).toBe('0')
    expect((await request('PUT')).body.toString()).toBe('1')
    await expect(request('POST')).rejects.toThrow()
  })

  it('does not repeat a request of a new connection', async () => {
    let requests = 0
    const { request } = await connect((socket) => {
      requests++
      socket.destroy()
    })
    await expect(request('GET')).rejects.toThrow()
    expect(requests).toBe(1)
  })

  it('gives up on a server that does not answer', async () => {
    const { request } = await connect(() => {}, 20)
    await expect(request('GET')).rejects.toThrow('no answer for 0.02 s')
  })

  it('rejects what waits when it is closed', async () => {
    const { connection, request } = await connect(() => connection.close())
    await expect(request('GET')).rejects.toThrow(ConnectionClosed)
    await expect(request('GET')).rejects.toThrow(ConnectionClosed)
  })

  it('writes requests with the length of the body in bytes', () => {
    const endpoint = { address: '127.0.0.1', port: 1, host: 'localhost:8008', basePath: '/base' }
    expect(requestText(endpoint, 'PUT', '/x', 'token', '{"é":1}')).toBe(
      'PUT /base/x HTTP/1.1\r\nHost: localhost:8008\r\nAuthorization: Bearer token\r\n' +
        'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{"é":1}',
    )
  })
})

describe('the targets of the bench', () => {
  it.each(['http://127.0.0.1:8008', 'http://localhost/', 'http://[::1]:80', 'http://127.9.9.9/base/'])(
    'accepts %s',
    async (url) => {
      await expect(loopbackEndpoint(new URL(url))).resolves.toMatchObject({ host: new URL(url).host })
    },
  )

  it.each(['http://192.0.2.1:8008', 'http://10.0.0.1', 'http://0.0.0.0', 'http://[2001:db8::1]', 'https://127.0.0.1'])(
    'refuses %s',
    async (url) => {
      await expect(loopbackEndpoint(new URL(url))).rejects.toThrow(UsageError)
    },
  )

  it('accepts databases on a unix socket or a loopback address, and no other', async () => {
    const socket = 'postgres://hearth@localhost/hearth?host=/run/postgresql'
    await expect(loopbackDatabase(socket)).resolves.toBe(socket)
    await expect(loopbackDatabase('postgres://127.0.0.1/hearth')).resolves.toBeDefined()
    await expect(loopbackDatabase('postgres://192.0.2.1/hearth')).rejects.toThrow(UsageError)
  })

  it('gives values to the targets they name, and the others in order', () => {
    const labels = ['hearth', 'synapse', 'third']
    expect(Object.fromEntries(assign('--pid', ['1', 'hearth=2', '3'], labels))).toEqual({
      hearth: '2',
      synapse: '1',
      third: '3',
    })
    expect(() => assign('--pid', ['1', '2'], ['hearth'])).toThrow(UsageError)
  })

  it('takes a value with an equals sign for a label only when a target has that name', () => {
    const url = 'postgres://localhost/db?host=/run'
    expect(assign('--database-url', [url], ['hearth']).get('hearth')).toBe(url)
    expect(assign('--shared-secret', ['a=b'], ['hearth']).get('hearth')).toBe('a=b')
  })

  it('lets one secret serve all targets', async () => {
    const target = ['a=http://127.0.0.1:1', 'b=http://127.0.0.1:2/']
    const targets = await resolveTargets({ target, pid: ['b=1'], databaseUrl: [], sharedSecret: ['s'] })
    expect(targets.map(({ label, sharedSecret, pid }) => [label, sharedSecret, pid])).toEqual([
      ['a', 's', undefined],
      ['b', 's', 1],
    ])
  })
})

describe('the rounds of the bench', () => {
  const progress = { show: () => {} } as never

  it('are interleaved, in turning direction', async () => {
    const order: string[] = []
    const subject = (name: string): Subject => ({
      name,
      errors: new ErrorLog(),
      round: async () => ({ count: order.push(name) }),
      close: () => {},
    })
    const measured = await measure([subject('a'), subject('b')], 3, progress, new AbortController().signal)
    expect(order.join('')).toBe('abbaab')
    expect(measured[0]!.rounds).toMatchObject([{ count: 1 }, { count: 4 }, { count: 5 }])
    expect(measured[0]!.rounds[0]!.load).toBeGreaterThanOrEqual(0)
  })

  it('run at most so many pieces of work at a time, and stop at the first failure', async () => {
    let running = 0
    let most = 0
    const results = await concurrently(10, 3, async (index) => {
      most = Math.max(most, ++running)
      await Promise.resolve()
      running--
      return index
    })
    expect(results).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(most).toBe(3)
    const begun: number[] = []
    const failing = concurrently(10, 1, async (index) => {
      begun.push(index)
      if (index === 2) throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(begun).toEqual([0, 1, 2])
  })
})

describe('what the bench reads of answers', () => {
  it.each([
    ['{"next_batch":"s1_2"}', 's1_2'],
    ['{"rooms":{"body":"\\"next_batch\\":\\"x\\""}, "next_batch" : "a\\u0062\\"c"}', 'ab"c'],
    ['{"prev_batch":"x"}', undefined],
  ])('finds the next_batch of %s', (body, token) => {
    expect(nextBatch(Buffer.from(body))).toBe(token)
  })

  it('counts errors by kind and keeps a bounded number of samples', () => {
    const errors = new ErrorLog()
    const body = Buffer.from('{"errcode":"M_FORBIDDEN","error":"no"}')
    for (let i = 0; i < 3; i++) errors.addAnswer('PUT /send', { status: 403, body, keepAlive: true })
    for (let i = 0; i < 100; i++) errors.add(`kind ${i}`)
    errors.addCause('GET /sync', new ConnectionClosed())
    expect(errors.count).toBe(103)
    expect(errors.samples()).toHaveLength(20)
    expect(errors.samples()[0]).toEqual({ sample: 'PUT /send: 403 M_FORBIDDEN no', count: 3 })
  })
})

describe('the command line of the bench', () => {
  const register = join(packageFolder, 'test', 'support', 'register-typescript.js')
  const main = join(packageFolder, 'scripts', 'bench', 'main.ts')

  it.each([
    [2, ['nosuch']],
    [2, ['send', '--clients', '0']],
    [2, ['send']],
    [0, ['send', '--help']],
  ])('ends with %d for %j', (code, args) => {
    expect(spawnSync(process.execPath, ['--import', register, main, ...args]).status).toBe(code)
  })
})
