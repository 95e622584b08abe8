import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, closeSync, existsSync, lchownSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { socketFolder } from '../data-folder.js'
import type { Logger } from '../logger.js'
import { findPostgres, launcherFor, SYSTEM_PATH, type Launcher, type PostgresBinaries } from './postgres-binaries.js'

/**
 * Hearth's own Postgres: a real one, as a child of this process, under the data folder.
 *
 *   DATA_DIR/postgres              the cluster (C locale, UTF8); its log is in `log/` there, seven days of it
 *   DATA_DIR/postgres-libraries    links that the packaged binaries need
 *   DATA_DIR/run                   the socket, in a folder of this user alone: being let in there is the authentication
 *
 * It listens on no TCP port. It is started in a session of its own, so that Ctrl-C in the terminal reaches this process
 * only, which stops it last, after everything that still writes.
 *
 * Whoever starts it holds the data folder (data-folder.ts). So a Postgres that runs in it already was left behind by a
 * killed process. It is stopped rather than taken over: what the dead process had under way has then certainly ended,
 * and the settings are those of this release. That costs a checkpoint, some tenths of a second.
 */
export interface OwnPostgres {
  readonly socketFolder: string
  readonly user: string
  readonly database: string
  /** Waits for its end. `quick` leaves recovery to the next start instead of writing a checkpoint. */
  stop(how?: 'quick'): Promise<void>
}

export interface OwnPostgresOptions {
  /** The data folder, held by this process. */
  readonly dataFolder: string
  /** PATH, to find an installed Postgres where no package fits. */
  readonly searchPath: string
  readonly log: Logger
  /** Settings of postgresql.conf beside or instead of ours. */
  readonly settings?: Readonly<Record<string, string>>
}

export const OWN_POSTGRES_USER = 'hearth'
export const OWN_POSTGRES_DATABASE = 'hearth'

/**
 * What differs from Postgres's defaults. They suit a small machine; who outgrows them names a Postgres of their own in
 * DATABASE_URL. There is no `wal_compression`: the packaged binaries have pglz only, which costs more CPU than the
 * smaller WAL is worth.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  // No TCP. The socket folder is private, so everybody who gets there may connect.
  listen_addresses: '',
  unix_socket_permissions: '0700',
  shared_buffers: '128MB',
  max_connections: '50',
  // Acknowledged means durable.
  synchronous_commit: 'on',
  // Our statements are many and short: compiling them never pays.
  jit: 'off',
  // Each first change of a page after a checkpoint writes the whole page to the WAL. Fewer checkpoints, less WAL; the
  // price is a longer recovery after a crash (2 GB are read back in some ten seconds) and disk space.
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // A file per weekday, overwritten a week later. Neither statements nor key values are logged: they are people's messages.
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: 'postgres-%a.log',
  log_rotation_age: '1d',
  log_truncate_on_rotation: 'on',
  log_timezone: 'UTC',
  timezone: 'UTC',
  log_checkpoints: 'off',
  log_error_verbosity: 'terse',
  log_min_error_statement: 'panic',
}

/** Starts it and returns once it answers. The data folder's cluster is made where there is none yet. */
export async function startOwnPostgres(options: OwnPostgresOptions): Promise<OwnPostgres> {
  const { dataFolder, log } = options
  const cluster = join(dataFolder, 'postgres')
  const binaries = findPostgres(options.searchPath, join(dataFolder, 'postgres-libraries'), clusterMajor(cluster))
  const launcher = launcherFor(binaries, dataFolder, cluster)
  const sockets = socketFolder(dataFolder, launcher.user)

  await stopLeftover(cluster, sockets, log)
  if (!existsSync(cluster)) makeCluster(binaries, launcher, cluster, log)
  giveTo(launcher, cluster)

  const settings = { ...SETTINGS, unix_socket_directories: sockets, ...options.settings }
  const start = () => startPostmaster(binaries, launcher, cluster, settings, join(dataFolder, 'postgres-start.log'))
  const keeper = await keepRunning(start, sockets, join(cluster, 'log'), log)
  await ensureDatabase(sockets)
  return { socketFolder: sockets, user: OWN_POSTGRES_USER, database: OWN_POSTGRES_DATABASE, stop: keeper.stop }
}

function clusterMajor(cluster: string): number | undefined {
  const file = join(cluster, 'PG_VERSION')
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : undefined
}

/** Made beside its place and then renamed, so that an interrupted initdb leaves nothing that looks like a cluster. */
function makeCluster(binaries: PostgresBinaries, launcher: Launcher, cluster: string, log: Logger): void {
  log.info({ folder: cluster, postgres: binaries.major }, 'making a new database')
  const unfinished = `${cluster}.new`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { mode: 0o700 })
  if (launcher.user !== undefined) chownSync(unfinished, launcher.user.uid, launcher.user.gid)
  const form = ['--encoding=UTF8', '--locale=C', '--auth=trust', `--username=${OWN_POSTGRES_USER}`, '--no-instructions']
  const { file, args, ...user } = launcher.command(join(binaries.folder, 'initdb'), ['-D', unfinished, ...form])
  const run = spawnSync(file, args, { ...user, cwd: '/', env: environment(binaries), encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`initdb failed: ${run.error?.message ?? (run.stderr.trim() || run.stdout)}`)
  renameSync(unfinished, cluster)
}

/** Nothing of our environment is handed on: it may hold secrets. */
function environment(binaries: PostgresBinaries): Record<string, string> {
  return { PATH: SYSTEM_PATH, LC_ALL: 'C', TZ: 'UTC', ...binaries.environment }
}

/** A cluster that root put back from a backup may belong to root. */
function giveTo({ user }: Launcher, cluster: string): void {
  if (user === undefined || statSync(cluster).uid === user.uid) return
  for (const entry of ['.', ...readdirSync(cluster, { recursive: true, encoding: 'utf8' })]) {
    lchownSync(join(cluster, entry), user.uid, user.gid)
  }
}

/** `postmaster.pid`: process id, data folder, start, port, socket folder, … a line each. */
async function stopLeftover(cluster: string, sockets: string, log: Logger): Promise<void> {
  const file = join(cluster, 'postmaster.pid')
  if (existsSync(file)) {
    const text = readFileSync(file, 'utf8')
    const pid = Number.parseInt(text, 10)
    if (isPostmaster(pid, cluster)) {
      log.warn({ pid }, 'stopping the Postgres that a killed process left behind')
      await stopProcess(pid)
    } else {
      // Postgres takes any live process with this id for a Postgres, and would not start: ids are reused after a restart
      // of the machine. The other lines stay: by them it sees whether processes of the dead one still use its memory.
      writeFileSync(file, text.replace(/^.*/, NOBODYS_PID))
    }
  }
  // The same question about the socket is answered already: its folder is ours, and nobody listens there.
  rmSync(join(sockets, '.s.PGSQL.5432.lock'), { force: true })
}

/** Beyond what any kernel hands out. */
const NOBODYS_PID = '2147483646'

function isPostmaster(pid: number, cluster: string): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'args=', '-p', String(pid)], {
    encoding: 'utf8',
    env: { PATH: SYSTEM_PATH },
  })
  return stdout.includes('postgres') && stdout.includes(cluster)
}

/** SIGINT asks Postgres for a fast shutdown: transactions are rolled back, a checkpoint is written. */
async function stopProcess(pid: number): Promise<void> {
  signal(pid, 'SIGINT')
  for (let waited = 0; isAlive(pid); waited += 20) {
    if (waited === STOP_PATIENCE_MS) signal(pid, 'SIGQUIT')
    await delay(20)
  }
}

/** How long a checkpoint may take on a slow disk before Postgres is told to leave it to recovery. */
const STOP_PATIENCE_MS = 60_000

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

const isAlive = (pid: number) => signal(pid, 0)

interface Postmaster {
  readonly child: ChildProcess
  readonly ended: Promise<void>
  /** What it said before its log file was open, for a start that fails. */
  words(): string
}

function startPostmaster(
  binaries: PostgresBinaries,
  launcher: Launcher,
  cluster: string,
  settings: Readonly<Record<string, string>>,
  output: string,
): Postmaster {
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const { file, args, ...user } = launcher.command(join(binaries.folder, 'postgres'), ['-D', cluster, ...options])
  const out = openSync(output, 'w', 0o600)
  const child = spawn(file, args, {
    ...user,
    cwd: '/',
    env: environment(binaries),
    detached: true,
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done())
    child.once('error', () => done())
  })
  return { child, ended, words: () => readFileSync(output, 'utf8').trim() }
}

interface Keeper {
  stop(how?: 'quick'): Promise<void>
}

/** Starts Postgres, and again whenever it ends without being told to (killed for want of memory, say). */
async function keepRunning(start: () => Postmaster, sockets: string, logFolder: string, log: Logger): Promise<Keeper> {
  const wanted = new AbortController()
  let current = start()
  // However this process ends, short of SIGKILL, Postgres is told to end too.
  const tellToEnd = () => void current.child.kill('SIGINT')
  process.once('exit', tellToEnd)
  for (let attempt = 0; !(await becomesReady(current, sockets, log)); attempt++) {
    const words = current.words()
    if (attempt === MOST_ATTEMPTS || !words.includes(OTHERS_IN_MEMORY)) throw new Error(failedStart(words, logFolder))
    await delay(200)
    current = start()
  }

  const keeping = (async () => {
    for (;;) {
      await current.ended
      if (wanted.signal.aborted) return
      log.error('Postgres has ended by itself; starting it again')
      await delay(1_000, undefined, { signal: wanted.signal }).catch(() => {})
      if (wanted.signal.aborted) return
      try {
        current = start()
      } catch (err) {
        log.error({ err }, 'Postgres could not be started') // a full disk, perhaps: tried again in a second
      }
    }
  })()

  return {
    async stop(how) {
      wanted.abort()
      current.child.kill(how === 'quick' ? 'SIGQUIT' : 'SIGINT')
      await keeping
      process.off('exit', tellToEnd)
    },
  }
}

/** When a postmaster was killed, its processes notice and end, and keep the next one from starting until they have. */
const OTHERS_IN_MEMORY = 'is still in use'
const MOST_ATTEMPTS = 50

/** Resolves once it accepts connections, or with false when it has ended. Recovery after a crash may take its time. */
async function becomesReady(postmaster: Postmaster, sockets: string, log: Logger): Promise<boolean> {
  let ended = false
  void postmaster.ended.then(() => (ended = true))
  for (let waited = 0; !ended; waited += 20) {
    if (await withConnection(sockets, 'postgres', async () => true).catch(refusal)) return true
    if (waited === 3_000) log.info('Postgres is recovering from a crash')
    await delay(20)
  }
  return false
}

/** What it said itself, and, once it wrote to its log file, the last of that. */
function failedStart(words: string, logFolder: string): string {
  const files = existsSync(logFolder) ? readdirSync(logFolder).map((name) => join(logFolder, name)) : []
  const newest = files.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  const logged = words.includes('logging collector') && newest !== undefined ? lastLines(newest, 8) : ''
  return `Postgres does not start. It says:\n${[words, logged].join('\n').trim()}`
}

const lastLines = (file: string, count: number): string =>
  readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n')

/** The ways in which a Postgres that is about to be ready refuses: no socket yet, nobody listening yet, 57P03. */
function refusal(error: NodeJS.ErrnoException): false {
  if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', '57P03'].includes(error.code ?? '')) return false
  if (error.message.startsWith('Connection terminated')) return false
  throw error
}

async function withConnection<T>(host: string, database: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ host, database, user: OWN_POSTGRES_USER })
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

async function ensureDatabase(sockets: string): Promise<void> {
  await withConnection(sockets, 'postgres', async (client) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [OWN_POSTGRES_DATABASE])
    if (rowCount === 0) await client.query(`create database ${OWN_POSTGRES_DATABASE}`)
  })
}
