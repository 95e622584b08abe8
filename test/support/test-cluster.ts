import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { silentLogger } from '../../src/logger.js'
import { openDatabase } from '../../src/store/database.js'
import { migrate } from '../../src/store/migrations.js'
import { startOwnPostgres } from '../../src/store/own-postgres.js'

/** The database that `testDatabase()` clones: all migrations, no rows. */
export const TEMPLATE = 'hearth_template'
/** How the test processes learn of the cluster: its socket folder. */
export const SOCKET_VARIABLE = 'HEARTH_TEST_POSTGRES'

/**
 * One Postgres for all test files of a run, in a temporary folder. Unless it is asked for, it forgoes what makes it durable,
 * which tests of durability do not use (they start one of their own).
 */
export async function startTestPostgres({ durable = false } = {}): Promise<{ stop(): Promise<void> }> {
  const dataFolder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-test-')))
  chmodSync(dataFolder, 0o711) // as root, Postgres runs as another user
  watchOver(dataFolder)
  const postgres = await startOwnPostgres({
    dataFolder,
    searchPath: process.env.PATH ?? '',
    log: silentLogger,
    settings: {
      ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
      ...{ max_connections: '200', shared_buffers: '64MB' },
    },
  })
  await makeTemplate(postgres.socketFolder)
  process.env[SOCKET_VARIABLE] = postgres.socketFolder
  return {
    async stop() {
      await postgres.stop('quick')
      rmSync(dataFolder, { recursive: true, force: true })
    },
  }
}

/**
 * When this process dies, however it dies, its end of the pipe closes, and the watcher stops Postgres (and those that
 * test/own-postgres.test.ts keeps below) and clears up, more than once, since test processes end a little later. It has
 * a session of its own, out of the reach of Ctrl-C.
 */
function watchOver(dataFolder: string): void {
  const script = `read -r _
    for seconds in 0 4 10; do
      sleep $seconds
      for file in "$1"/postgres/postmaster.pid "$1"/own-*/data/postgres/postmaster.pid; do
        [ -r "$file" ] && read -r pid < "$file" && kill -QUIT "$pid" && sleep 1
      done
      rm -rf "$1"
    done`
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', dataFolder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watcher.unref()
  ;(watcher.stdin as unknown as { unref(): void }).unref()
}

async function makeTemplate(socketFolder: string): Promise<void> {
  const server = { socketFolder, user: 'hearth' }
  const admin = new pg.Client({ host: socketFolder, user: 'hearth', database: 'postgres' })
  await admin.connect()
  await admin.query(`create database ${TEMPLATE}`)
  await admin.end()
  const template = openDatabase({ ...server, database: TEMPLATE }, { max: 1, log: silentLogger })
  try {
    await migrate(template.db)
  } finally {
    await template.close()
  }
}
