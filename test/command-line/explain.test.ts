import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import { explain } from '../../src/command-line/explain.js'
import { ConfigError } from '../../src/config.js'
import { DataFolderHeld } from '../../src/data-folder.js'
import { silentLogger } from '../../src/logger.js'
import { openDatabase } from '../../src/store/database.js'

/** What a driver says of a database that gives these answers, one to each thing it is sent, and hangs up. */
async function errorOf(answers: readonly Buffer[], url: (port: number) => string): Promise<unknown> {
  const left = [...answers]
  const server = createServer((client) =>
    client.on('data', () => (left.length > 1 ? client.write(left.shift()!) : client.end(left.shift() ?? ''))),
  )
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const database = openDatabase({ url: url((server.address() as AddressInfo).port) }, { max: 1, log: silentLogger })
  const error = await database.pool.query('select 1').catch((error: unknown) => error)
  await database.close()
  server.close()
  return error
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
function authentication(kind: number, data: string): Buffer {
  const message = Buffer.from(`R\0\0\0\0\0\0\0\0${data}`)
  message.writeInt32BE(message.length - 1, 1)
  message.writeInt32BE(kind, 5)
  return message
}

describe('an error at the start', () => {
  it('in the configuration is a list of variables', () => {
    const error = new ConfigError([
      { variable: 'LISTEN', message: 'is wrong' },
      { variable: 'CACHE_MB', message: 'is too small' },
    ])
    expect(explain(error)).toBe(
      'the configuration has mistakes:\n  LISTEN: is wrong\n  CACHE_MB: is too small\nSee .env.example',
    )
  })

  it('for a taken port names the address and the variable', async () => {
    const first = createServer()
    await new Promise<void>((done) => first.listen(0, '127.0.0.1', done))
    const address = first.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const error = await new Promise<Error>((failed) => createServer().on('error', failed).listen(port, '127.0.0.1'))
    first.close()
    expect(explain(error)).toContain(`127.0.0.1:${port} is used by another program`)
    expect(explain(error)).toContain('LISTEN')
  })

  it('for a database that is away says so', async () => {
    const away = openDatabase({ url: 'postgres:///hearth?host=/nonexistent' }, { max: 1, log: silentLogger })
    const error = await away.pool.query('select 1').catch((error: unknown) => error)
    await away.close()
    expect(explain(error)).toContain('the database cannot be reached: connect ENOENT /nonexistent')
  })

  it('for a forgotten password says where it belongs', async () => {
    const answers = [authentication(10, 'SCRAM-SHA-256\0\0'), authentication(11, 'r=a,s=YQ==,i=4096')]
    const error = await errorOf(answers, (port) => `postgres://hearth@127.0.0.1:${port}/hearth`)
    expect(explain(error)).toMatch(/^the database wants a password, and DATABASE_URL has none/)
  })

  it('for TLS that the database does not have names the variable', async () => {
    const url = (port: number) => `postgres://hearth:secret@127.0.0.1:${port}/hearth?sslmode=require`
    const error = await errorOf([Buffer.from('N')], url)
    expect(explain(error)).toContain('DATABASE_URL asks for it (sslmode)')
  })

  it('for a data folder in use says by whom and what to do', () => {
    const holder = { pid: 7, since: '2026-11-24T12:00:00.000Z', command: 'hearth', address: 'http://localhost:8008' }
    expect(explain(new DataFolderHeld('/data', holder))).toBe(
      '/data is in use by hearth, process 7, since 2026-11-24T12:00:00.000Z, serving http://localhost:8008. ' +
        'Stop that one first, or choose another DATA_DIR',
    )
  })

  it('of another kind is its message', () => {
    expect(explain(new Error('something else'))).toBe('something else')
  })
})
