import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { silentLogger } from '../../src/logger.js'
import { openDatabase } from '../../src/store/database.js'
import { migrate } from '../../src/store/migrations.js'
import { testDatabase } from '../support/postgres.js'

const { db, address } = await testDatabase({ from: 'template0' })
const other = openDatabase(address, { max: 2, log: silentLogger })
const folder = mkdtempSync(join(tmpdir(), 'hearth-schema-'))
afterAll(async () => {
  await other.close()
  rmSync(folder, { recursive: true })
})

const file = (name: string, text: string) => writeFileSync(join(folder, name), text)
const rowsOf = async (table: string) => (await sql`select * from ${sql.table(table)}`.execute(db)).rows

describe('migrations', () => {
  beforeEach(async () => {
    await sql`drop schema public cascade`.execute(db)
    await sql`create schema public`.execute(db)
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
  })

  it('run each file once, in the order of their names', async () => {
    file('0002-fill.sql', `insert into t values (1); insert into t values (2);`)
    file('0001-make.sql', 'create table t (n int);')
    expect(await migrate(db, folder)).toEqual(['0001-make', '0002-fill'])
    expect(await migrate(db, folder)).toEqual([])
    expect(await rowsOf('t')).toEqual([{ n: 1 }, { n: 2 }])
  })

  it('keep what stood before the file that failed, and name it', async () => {
    file('0001-make.sql', 'create table t (n int);')
    file('0002-wrong.sql', `insert into t values (1); insert into nowhere values (2);`)
    await expect(migrate(db, folder)).rejects.toThrow('0002-wrong: relation "nowhere" does not exist')
    expect(await rowsOf('t')).toEqual([])
    file('0002-wrong.sql', `insert into t values (3);`)
    expect(await migrate(db, folder)).toEqual(['0002-wrong'])
  })

  it('are run once by processes that start together', async () => {
    file('0001-make.sql', 'create table t (n int); insert into t values (1); select pg_sleep(0.1);')
    file('0002-fill.sql', 'insert into t values (2);')
    const done = await Promise.all([migrate(db, folder), migrate(other.db, folder), migrate(other.db, folder)])
    expect(done.flat().sort()).toEqual(['0001-make', '0002-fill'])
    expect(await rowsOf('t')).toEqual([{ n: 1 }, { n: 2 }])
  })

  it('of a later release do not keep the one before it from starting', async () => {
    file('0001-make.sql', 'create table t (n int);')
    file('0002-later.sql', 'alter table t add m int;')
    await migrate(db, folder)
    rmSync(join(folder, '0002-later.sql'))
    expect(await migrate(db, folder)).toEqual([])
  })
})
