import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lookup, lookUp } from '../../src/federation/look-up.js'
import { NameServer } from '../support/name-server.js'

const folder = mkdtempSync(join(tmpdir(), 'hearth-hosts-'))
afterAll(() => rmSync(folder, { recursive: true }))
const hostsFile = join(folder, 'hosts')

let nameServer: NameServer
let askedOfSystem: string[]
let addressesOf: Lookup

beforeAll(async () => {
  nameServer = await NameServer.listening()
})
afterAll(() => nameServer.close())

beforeEach(() => {
  writeFileSync(hostsFile, '127.0.0.1 localhost\n')
  askedOfSystem = []
  addressesOf = lookUp({
    hostsFile,
    nameServers: [nameServer.address],
    bySystem: async (host) => {
      askedOfSystem.push(host)
      if (host === 'printer.local') return ['192.0.2.9']
      throw new Error(`no ${host}`)
    },
  })
})
afterEach(() => {
  nameServer.names.clear()
  nameServer.asked.length = 0
})

describe('the addresses of a name', () => {
  it('are those that the name servers say, IPv4 first', async () => {
    nameServer.names.set('a.example', ['2001:db8:0:0:0:0:0:1', '192.0.2.1', '192.0.2.2'])
    expect(await addressesOf('a.example')).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1'])
    expect(askedOfSystem).toEqual([])
  })

  it('are those of one kind where there are none of the other', async () => {
    nameServer.names.set('six.example', ['2001:db8:0:0:0:0:0:1'])
    expect(await addressesOf('six.example')).toEqual(['2001:db8::1'])
  })

  it('are those in the hosts file before what the name servers say', async () => {
    nameServer.names.set('a.example', ['192.0.2.1'])
    writeFileSync(
      hostsFile,
      '# machines here\n::1 A.example\n10.0.0.5\tb.example a.example # by the wall\nnonsense a.example\n',
    )
    expect(await addressesOf('a.example')).toEqual(['10.0.0.5', '::1'])
    expect(nameServer.asked).toEqual([])
  })

  it('follow changes of the hosts file', async () => {
    expect(await addressesOf('localhost')).toEqual(['127.0.0.1'])
    writeFileSync(hostsFile, '127.0.0.2 localhost\n')
    utimesSync(hostsFile, 1, 1)
    expect(await addressesOf('localhost')).toEqual(['127.0.0.2'])
  })

  it('are asked of the operating system where the name servers know none', async () => {
    expect(await addressesOf('printer.local')).toEqual(['192.0.2.9'])
    await expect(addressesOf('nobody.example')).rejects.toThrow('no nobody.example')
  })

  it('are not known when the name servers fail, and the operating system, which would wait for them, is not asked', async () => {
    nameServer.names.set('broken.example', 'failure')
    await expect(addressesOf('broken.example')).rejects.toMatchObject({ code: 'ESERVFAIL' })
    expect(askedOfSystem).toEqual([])
  })

  it('are found at once while a hundred names wait for name servers that do not answer', async () => {
    nameServer.names.set('a.example', ['192.0.2.1'])
    let answered = 0
    const silent = Array.from({ length: 100 }, (_, i) => `silent-${i}.example`)
    for (const name of silent) nameServer.names.set(name, 'silence')
    const waiting = silent.map((name) => addressesOf(name).catch(() => answered++))
    expect(await addressesOf('a.example')).toEqual(['192.0.2.1'])
    expect(answered).toBe(0)
    await Promise.all(waiting)
    expect(answered).toBe(100)
  }, 30_000)

  it('are asked without a hosts file, too', async () => {
    rmSync(hostsFile)
    nameServer.names.set('a.example', ['192.0.2.1'])
    expect(await addressesOf('a.example')).toEqual(['192.0.2.1'])
  })
})
