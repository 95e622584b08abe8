import { createServer } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import { explain } from '../../src/command-line/explain.js'
import { ConfigError } from '../../src/config.js'
import { DataFolderHeld } from '../../src/data-folder.js'
import { silentLogger } from '../../src/logger.js'
import { openDatabase } from '../../src/store/database.js'

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
