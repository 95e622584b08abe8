import { beforeEach, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Discovery, inOrder, type SrvRecord } from '../../src/federation/discovery.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

type WellKnownAnswer = { status?: number; headers?: Record<string, string>; text: string }

let now: number
let wellKnown: Map<string, WellKnownAnswer | Error>
let srv: Map<string, readonly SrvRecord[] | NodeJS.ErrnoException>
let asked: string[]
let discovery: Discovery

beforeEach(() => {
  now = 1_800_000_000_000
  wellKnown = new Map()
  srv = new Map()
  asked = []
  discovery = new Discovery({
    http: {
      async get(url) {
        asked.push(url.href)
        const answer = wellKnown.get(url.hostname) ?? new Error('not reached')
        if (answer instanceof Error) throw answer
        return { status: 200, headers: {}, ...answer }
      },
    },
    async resolveSrv(name) {
      asked.push(name)
      const records = srv.get(name) ?? Object.assign(new Error('none'), { code: 'ENOTFOUND' })
      if (records instanceof Error) throw records
      return records
    },
    now: () => now,
    random: () => 0.5,
  })
})

const record = (name: string, port: number, priority = 10, weight = 0): SrvRecord => ({ name, port, priority, weight })
const delegate = (host: string, to: unknown, headers = {}) =>
  wellKnown.set(host, { text: JSON.stringify({ 'm.server': to }), headers })

const found = (certificateName: string, host: string, ...places: [string, number][]) => ({
  certificateName,
  host,
  places: places.map(([host, port]) => ({ host, port })),
})

describe('the steps of resolving a server name', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4', 8448],
    ['1.2.3.4:5', '1.2.3.4', 5],
    ['[2001:db8::1]', '2001:db8::1', 8448],
    ['[2001:db8::1]:5', '2001:db8::1', 5],
  ])('1. %s is connected to as it is', async (name, address, port) => {
    expect(await discovery.find(name)).toEqual(found(address, name, [address, port]))
    expect(asked).toEqual([])
  })

  it('2. a name with a port is asked for nothing', async () => {
    expect(await discovery.find('a.example:443')).toEqual(found('a.example', 'a.example:443', ['a.example', 443]))
    expect(asked).toEqual([])
  })

  it.each([
    ['5.6.7.8', '5.6.7.8', 8448],
    ['5.6.7.8:9', '5.6.7.8', 9],
    ['[2001:db8::2]', '2001:db8::2', 8448],
    ['b.example:9', 'b.example', 9],
  ])('3.1, 3.2. a name delegated to %s is found there', async (name, host, port) => {
    delegate('a.example', name)
    expect(await discovery.find('a.example')).toEqual(found(host, name, [host, port]))
    expect(asked).toEqual(['https://a.example/.well-known/matrix/server'])
  })

  it('3.3. a name delegated to another is found by that one, which must prove who it is', async () => {
    delegate('a.example', 'b.example')
    delegate('b.example', 'c.example')
    srv.set('_matrix-fed._tcp.b.example', [record('d.example', 7)])
    expect(await discovery.find('a.example')).toEqual(found('b.example', 'b.example', ['d.example', 7]))
  })

  it('3.4. formerly by another service', async () => {
    delegate('a.example', 'b.example')
    srv.set('_matrix._tcp.b.example', [record('d.example', 7)])
    expect(await discovery.find('a.example')).toEqual(found('b.example', 'b.example', ['d.example', 7]))
  })

  it('3.5. without a record at port 8448', async () => {
    delegate('a.example', 'b.example')
    expect(await discovery.find('a.example')).toEqual(found('b.example', 'b.example', ['b.example', 8448]))
  })

  it('4. a name that is not delegated is found by its record and proves who it is', async () => {
    srv.set('_matrix-fed._tcp.a.example', [record('d.example', 7)])
    srv.set('_matrix._tcp.a.example', [record('e.example', 8)])
    expect(await discovery.find('a.example')).toEqual(found('a.example', 'a.example', ['d.example', 7]))
    expect(asked).not.toContain('_matrix._tcp.a.example')
  })

  it('5. formerly by another service', async () => {
    srv.set('_matrix._tcp.a.example', [record('e.example', 8)])
    expect(await discovery.find('a.example')).toEqual(found('a.example', 'a.example', ['e.example', 8]))
  })

  it('6. or stands at port 8448', async () => {
    expect(await discovery.find('a.example')).toEqual(found('a.example', 'a.example', ['a.example', 8448]))
    expect(asked).toEqual([
      'https://a.example/.well-known/matrix/server',
      '_matrix-fed._tcp.a.example',
      '_matrix._tcp.a.example',
    ])
  })

  it.each(['ESERVFAIL', 'ETIMEOUT', 'EREFUSED', 'EBADRESP'])(
    '%s for a record means that there is none',
    async (code) => {
      srv.set('_matrix-fed._tcp.a.example', Object.assign(new Error(code), { code }))
      srv.set('_matrix._tcp.a.example', Object.assign(new Error(code), { code }))
      expect(await discovery.find('a.example')).toEqual(found('a.example', 'a.example', ['a.example', 8448]))
    },
  )

  it('says nothing of what is no server name', async () => {
    for (const name of ['', 'a b', 'a.example:', 'a.example/x', 'user@a.example', '[::1', 'a.example:123456']) {
      expect(await discovery.find(name)).toBeUndefined()
    }
  })

  it('finds names that cannot stand in a URL', async () => {
    expect(await discovery.find('1.2.3.4.5')).toMatchObject({ certificateName: '1.2.3.4.5' })
  })
})

describe('a well-known file', () => {
  it.each<[string, WellKnownAnswer]>([
    ['is absent', { status: 404, text: '{"m.server":"b.example"}' }],
    ['is a redirect to nowhere', { status: 302, text: '{"m.server":"b.example"}' }],
    ['is not JSON', { text: '<html>' }],
    ['is not UTF-8 escaped well', { text: '{"m.server":"\\ud800"}' }],
    ['is an array', { text: '["b.example"]' }],
    ['has no name', { text: '{}' }],
    ['has another type of name', { text: '{"m.server":["b.example"]}' }],
    ['names no server', { text: '{"m.server":"https://b.example"}' }],
    ['names nothing', { text: '{"m.server":""}' }],
    ['is nested', { text: `{"m.server":"b.example","x":${'['.repeat(20_000)}${']'.repeat(20_000)}}` }],
  ])('that %s is passed over', async (_what, answer) => {
    wellKnown.set('a.example', answer)
    expect(await discovery.find('a.example')).toEqual(found('a.example', 'a.example', ['a.example', 8448]))
  })

  it('is asked for once by all who wait', async () => {
    delegate('a.example', 'b.example:1')
    await Promise.all(Array.from({ length: 10 }, () => discovery.find('a.example')))
    expect(asked).toHaveLength(1)
  })

  const askedAgainAfter = async (ms: number): Promise<boolean> => {
    const before = asked.length
    now += ms
    await discovery.find('a.example')
    return asked.length > before
  }

  it.each<[string, Record<string, string>, number]>([
    ['24 hours where it does not say', {}, 24 * HOUR],
    ['as long as it says', { 'cache-control': 'public, max-age=7200' }, 2 * HOUR],
    ['48 hours at most', { 'cache-control': 'max-age=999999999' }, 48 * HOUR],
    ['five minutes at least', { 'cache-control': 'max-age=1' }, 5 * MINUTE],
    ['five minutes where it is not to be kept', { 'cache-control': 'no-store, max-age=7200' }, 5 * MINUTE],
    ['until it expires', { expires: new Date(1_800_000_000_000 + 3 * HOUR).toUTCString() }, 3 * HOUR],
    ['no longer for an expiry that is no date', { expires: '0' }, 5 * MINUTE],
  ])('is kept %s', async (_how, headers, lifetime) => {
    delegate('a.example', 'b.example:1', headers)
    await discovery.find('a.example')
    expect(await askedAgainAfter(lifetime - 1000)).toBe(false)
    expect(await askedAgainAfter(1000)).toBe(true)
  })

  it('that fails is asked for after a time that grows to an hour', async () => {
    const waits: number[] = []
    await discovery.find('a.example')
    for (let round = 0; round < 9; round++) {
      let minutes = 0
      do minutes++
      while (
        !(await (async () => {
          const before = asked.filter((one) => one.startsWith('https:')).length
          now += MINUTE
          await discovery.find('a.example')
          return asked.filter((one) => one.startsWith('https:')).length > before
        })())
      )
      waits.push(minutes)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
    delegate('a.example', 'b.example:1')
    now += HOUR
    expect(await discovery.find('a.example')).toMatchObject({ host: 'b.example:1' })
  })

  it('still counts while its host cannot answer, but not for more than 48 hours', async () => {
    delegate('a.example', 'b.example:1')
    await discovery.find('a.example')
    wellKnown.set('a.example', { status: 503, text: '' })
    for (let hours = 25; hours < 48; hours++) {
      now = 1_800_000_000_000 + hours * HOUR
      expect(await discovery.find('a.example')).toMatchObject({ host: 'b.example:1' })
    }
    now = 1_800_000_000_000 + 50 * HOUR
    expect(await discovery.find('a.example')).toMatchObject({ host: 'a.example' })
  })

  it('does not count any more when it is gone', async () => {
    delegate('a.example', 'b.example:1')
    await discovery.find('a.example')
    wellKnown.set('a.example', { status: 404, text: '' })
    now += 25 * HOUR
    expect(await discovery.find('a.example')).toMatchObject({ host: 'a.example' })
  })
})

describe('SRV records', () => {
  it('are kept for five minutes, a failure for one', async () => {
    srv.set('_matrix-fed._tcp.a.example', [record('d.example', 7)])
    await discovery.find('a.example')
    const count = () => asked.filter((name) => name === '_matrix-fed._tcp.a.example').length
    now += 5 * MINUTE - 1000
    await discovery.find('a.example')
    expect(count()).toBe(1)
    now += 2000
    srv.set('_matrix-fed._tcp.a.example', Object.assign(new Error('x'), { code: 'ETIMEOUT' }))
    await discovery.find('a.example')
    expect(count()).toBe(2)
    now += MINUTE + 1000
    await discovery.find('a.example')
    expect(count()).toBe(3)
  })

  it('that say there is no such service count as none', async () => {
    srv.set('_matrix-fed._tcp.a.example', [record('', 0), record('.', 1)])
    expect(await discovery.find('a.example')).toMatchObject({ places: [{ host: 'a.example', port: 8448 }] })
  })

  it('are tried by priority, each once', () => {
    const records = fc.array(fc.record({ priority: fc.nat(3), weight: fc.nat(5) }), { maxLength: 12 })
    const fractions = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 12 })
    const run = fc.property(records, fractions, (chosen, random) => {
      const all = chosen.map((one, at) => ({ ...one, name: `n${at}`, port: at }))
      let turn = 0
      const ordered = inOrder(all, () => random[turn++ % random.length]!)
      expect(ordered.toSorted((a, b) => a.port - b.port)).toEqual(all)
      const priorities = ordered.map(({ priority }) => priority)
      expect(priorities).toEqual(priorities.toSorted((a, b) => a - b))
    })
    fc.assert(run, { seed: 1, numRuns: 300 })
  })

  it('of one priority are drawn by weight', () => {
    const records = [record('a', 1, 0, 1), record('b', 1, 0, 3), record('c', 1, 0, 0)]
    const first = { a: 0, b: 0, c: 0 }
    for (let at = 0; at < 1000; at++) first[inOrder(records, () => at / 1000)[0]!.name as 'a']++
    expect(first).toEqual({ a: 200, b: 600, c: 200 })
  })
})
