import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { DataFolderHeld, holdDataFolder, makeDataFolder, socketFolder } from '../src/data-folder.js'
import { silentLogger } from '../src/logger.js'
import { packageFolder } from '../src/package-folder.js'
import { type OwnPostgres, startOwnPostgres } from '../src/store/own-postgres.js'
import { SOCKET_VARIABLE } from './support/test-cluster.js'

// Within the folder of the run's cluster, which is cleared up whatever becomes of the run. A Postgres whose folder is gone ends.
const root = mkdtempSync(join(process.env[SOCKET_VARIABLE] ?? '', '..', 'own-'))
chmodSync(root, 0o711)
const dataFolder = makeDataFolder(join(root, 'data'))
const postmasterFile = join(dataFolder, 'postgres', 'postmaster.pid')
const postmasterPid = () => Number.parseInt(readFileSync(postmasterFile, 'utf8'), 10)

const searchPath = process.env.PATH ?? ''
const start = () => startOwnPostgres({ dataFolder, searchPath, log: silentLogger })

async function query<T>({ socketFolder, user, database }: OwnPostgres, text: string): Promise<T[]> {
  const client = new pg.Client({ host: socketFolder, user, database })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(text)).rows as T[]
  } finally {
    await client.end()
  }
}

/** Starts Postgres, runs the test and stops it again whatever comes. */
async function withPostgres<T>(use: (postgres: OwnPostgres) => Promise<T>): Promise<T> {
  const postgres = await start()
  try {
    return await use(postgres)
  } finally {
    await postgres.stop()
  }
}

let holder: ChildProcess | undefined
afterAll(async () => {
  holder?.kill('SIGKILL')
  if (existsSync(postmasterFile)) await (await start()).stop()
  rmSync(root, { recursive: true, force: true })
})

/** Another process that holds the data folder and runs Postgres in it. */
async function startHolder(): Promise<ChildProcess> {
  const script = join(packageFolder, 'test', 'support', 'hold-own-postgres.ts')
  const register = join(packageFolder, 'test', 'support', 'register-typescript.js')
  holder = spawn(process.execPath, ['--import', register, script, dataFolder], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (holder.stdout === null) throw new Error('no pipe')
  await once(holder.stdout, 'data')
  return holder
}

async function kill(process: ChildProcess): Promise<void> {
  const ended = once(process, 'exit')
  process.kill('SIGKILL')
  await ended
}

describe('its own Postgres', () => {
  beforeAll(async () => {
    await withPostgres((postgres) => query(postgres, 'create table t (n int); insert into t values (7)'))
  })

  it('listens on a private socket and on no TCP port', async () => {
    await withPostgres(async (postgres) => {
      const settings = await query<{ setting: string }>(
        postgres,
        `select setting from pg_settings where name in ('listen_addresses', 'unix_socket_permissions') order by name`,
      )
      expect(settings.map(({ setting }) => setting)).toEqual(['', '0700'])
    })
  })

  it('is durable, in UTF8, and sorts by code point', async () => {
    await withPostgres(async (postgres) => {
      const [settings] = await query(
        postgres,
        `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
          current_setting('server_encoding') as encoding, 'Z' < 'a' as by_code_point`,
      )
      expect(settings).toEqual({ fsync: 'on', commit: 'on', encoding: 'UTF8', by_code_point: true })
    })
  })

  it('has what was written before the last stop', async () => {
    expect(await withPostgres((postgres) => query(postgres, 'select n from t'))).toEqual([{ n: 7 }])
    expect(existsSync(postmasterFile)).toBe(false)
  })

  it('that a killed process left running is replaced', async () => {
    await kill(await startHolder())
    const left = postmasterPid()
    await withPostgres(async (postgres) => {
      expect(postmasterPid()).not.toBe(left)
      expect(await query(postgres, 'select n from t')).toEqual([{ n: 7 }])
    })
  })

  it('starts after it was killed together with its process', async () => {
    const process_ = await startHolder()
    process.kill(postmasterPid(), 'SIGKILL')
    await kill(process_)
    expect(await withPostgres((postgres) => query(postgres, 'select n from t'))).toEqual([{ n: 7 }])
  })

  it('is not kept from starting by a stale file that names a living process', async () => {
    const file = `${process.pid}\n${join(dataFolder, 'postgres')}\n1\n5432\n\n\n\n`
    writeFileSync(postmasterFile, file)
    expect(await withPostgres((postgres) => query(postgres, 'select n from t'))).toEqual([{ n: 7 }])
  })

  it('comes back when it alone was killed', async () => {
    await withPostgres(async (postgres) => {
      const killed = postmasterPid()
      process.kill(killed, 'SIGKILL')
      await until(async () => (await query(postgres, 'select n from t')).length === 1 && postmasterPid() !== killed)
    })
  })

  it('can be stopped while nothing runs any more, and twice', async () => {
    const postgres = await start()
    await Promise.all([postgres.stop(), postgres.stop('quick')])
  })
})

/** Asks again and again; errors are "not yet". The test's time limit ends it. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 50))
}

describe('a data folder', () => {
  it('is refused to a second process, which is told who holds it', async () => {
    const process_ = await startHolder()
    const refused = await holdDataFolder(dataFolder, socketFolder(dataFolder), 'second').catch(
      (error: unknown) => error,
    )
    expect(refused).toBeInstanceOf(DataFolderHeld)
    expect((refused as DataFolderHeld).message).toContain(`hearth under test, process ${process_.pid}, since 20`)

    await kill(process_)
    const hold = await holdDataFolder(dataFolder, socketFolder(dataFolder), 'third')
    hold.release()
  })

  it('is told with the address once there is one, and free when released', async () => {
    const sockets = socketFolder(dataFolder)
    const hold = await holdDataFolder(dataFolder, sockets, 'first')
    hold.tell({ address: 'http://localhost:8008' })
    await expect(holdDataFolder(dataFolder, sockets, 'second')).rejects.toThrow('serving http://localhost:8008')
    hold.release()
    ;(await holdDataFolder(dataFolder, sockets, 'third')).release()
  })

  it('goes to one of several that find a stale lock', async () => {
    const sockets = socketFolder(dataFolder)
    await kill(await startHolder())
    const tries = await Promise.allSettled([1, 2, 3].map((n) => holdDataFolder(dataFolder, sockets, `number ${n}`)))
    const holds = tries.flatMap((tried) => (tried.status === 'fulfilled' ? [tried.value] : []))
    expect(holds).toHaveLength(1)
    holds[0]?.release()
  })

  it('with a long path has its sockets elsewhere, in a place that is found again', () => {
    const long = makeDataFolder(join(root, 'x'.repeat(120)))
    const sockets = socketFolder(long)
    expect(Buffer.byteLength(sockets)).toBeLessThan(90)
    expect(socketFolder(long)).toBe(sockets)
    rmSync(sockets, { recursive: true })
  })
})
