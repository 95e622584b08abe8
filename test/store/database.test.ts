import { describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { pino } from 'pino'
import { checkServer, openDatabase, parseInt8, parseInt8Array, statementName } from '../../src/store/database.js'
import { testDatabase } from '../support/postgres.js'

const { db, pool, connect, address } = await testDatabase()

describe('int8', () => {
  it('arrives as a number', async () => {
    const { rows } = await sql`select 9007199254740991::bigint as one, '{1,NULL,-3}'::bigint[] as many`.execute(db)
    expect(rows).toEqual([{ one: 9007199254740991, many: [1, null, -3] }])
  })

  it('beyond 2^53 is an error of that query alone', async () => {
    await expect(sql`select 9007199254740992::bigint as n`.execute(db)).rejects.toThrow('9007199254740992')
    expect((await sql`select 1::bigint as n`.execute(db)).rows).toEqual([{ n: 1 }])
  })

  it('is parsed from what Postgres writes', () => {
    expect(parseInt8('-5')).toBe(-5)
    expect(parseInt8Array('{}')).toEqual([])
  })
})

describe('statement names', () => {
  it('are one per text, so that Postgres plans it once per connection', async () => {
    const client = await pool.connect()
    try {
      for (const n of [1, 2, 3]) await client.query('select $1::int as answer', [n])
      const { rows } = await client.query('select statement from pg_prepared_statements where statement like $1', [
        'select $1::int as answer',
      ])
      expect(rows).toHaveLength(1)
    } finally {
      client.release()
    }
  })

  it('are given to a thousand texts and no more', () => {
    const first = statementName('select 1 where $1')
    const names = Array.from({ length: 1_500 }, (_, n) => statementName(`select ${n} where $1`))
    expect(names.at(-1)).toBeUndefined()
    expect(statementName('select 1 where $1')).toBe(first)
  })
})

describe('a connection that breaks', () => {
  it('fails what it was asked, and the next query gets another', async () => {
    const client = await pool.connect()
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    const waiting = client.query('select pg_sleep(60)').catch((error: Error) => error.message)
    await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(db)
    expect(await waiting).toMatch(/terminat/)
    client.release(true)
    expect((await sql`select 1 as n`.execute(db)).rows).toEqual([{ n: 1 }])
  })
})

describe('an idle connection that Postgres ends', () => {
  const ended = Object.assign(new Error('terminating connection due to administrator command'), { code: '57P01' })
  const opened = () => {
    const log: unknown[] = []
    const logger = pino({ level: 'warn' }, { write: (line) => void log.push(JSON.parse(line)) })
    return { log, database: openDatabase(address, { max: 1, log: logger }) }
  }

  it('is a warning', async () => {
    const { log, database } = opened()
    database.pool.emit('error', ended, database.connect())
    expect(log).toMatchObject([{ msg: 'an idle database connection broke', code: '57P01' }])
    await database.close()
  })

  it('is none once the pool was closed, as at an orderly stop', async () => {
    const { log, database } = opened()
    await database.pool.query('select 1')
    const closed = database.close()
    database.pool.emit('error', ended, database.connect())
    await closed
    database.pool.emit('error', ended, database.connect())
    expect(log).toEqual([])
  })
})

describe('the server check', () => {
  it('says what is unwise', async () => {
    expect(await checkServer(pool)).toEqual(['fsync is off: a crash can lose what was acknowledged'])
  })
})

describe('a connection beside the pool', () => {
  it('has the same parsers', async () => {
    const client = connect()
    await client.connect()
    const { rows } = await client.query('select 5::bigint as n')
    await client.end()
    expect(rows).toEqual([{ n: 5 }])
  })
})
