import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll } from '@jest/globals'
import { eventually } from './eventually.js'
import { freePort } from './free-port.js'
import { TestClient } from './http.js'
import { register, type TestUser } from './test-user.js'

/**
 * Hearth as an operator runs it: processes of `dist/src/main.js` (made by `npm run build`) with an environment, on a
 * folder. Whatever a test does to them, after the tests of its file they are gone, and their Postgres and folder too.
 */

const main = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))
/** A start makes a database, on a machine that runs other tests. */
const START_MS = 40_000

export interface Ended {
  /** The exit status; null where a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

/** A process that was started, perhaps has ended. */
export class HearthProcess {
  readonly pid: number
  readonly ended: Promise<Ended>
  hasEnded = false
  #stdout = ''
  #stderr = ''

  constructor(readonly child: ChildProcess) {
    this.pid = child.pid!
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (this.#stdout += chunk))
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (this.#stderr += chunk))
    this.ended = new Promise((resolve) => {
      child.once('exit', () => (this.hasEnded = true))
      child.once('close', (code, signal) => resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }))
    })
  }

  /** Its log so far, one object a line. */
  get log(): LogLine[] {
    const lines = this.#stdout.split('\n').slice(0, -1)
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine)
  }

  get output(): string {
    return this.#stdout + this.#stderr
  }

  signal(name: NodeJS.Signals): void {
    if (!this.hasEnded) process.kill(this.pid, name)
  }

  /** Sends the signal and waits for the end. */
  async end(name: NodeJS.Signals): Promise<Ended> {
    this.signal(name)
    return within(20_000, this.ended, () => `${name} did not end process ${this.pid}:\n${this.output}`)
  }
}

export class Installation {
  /** Holds the data folder `data`, where not told otherwise, and is the working directory. */
  readonly folder = makeFolder()
  readonly #environment: Readonly<Record<string, string>>
  readonly #processes: HearthProcess[] = []

  constructor(
    readonly port: number,
    environment: Readonly<Record<string, string>>,
  ) {
    this.#environment = {
      SERVER_NAME: 'hearth.test',
      PUBLIC_BASE_URL: this.baseUrl,
      LISTEN: `127.0.0.1:${port}`,
      DATA_DIR: this.dataDir,
      REGISTRATION: 'open',
      RATE_LIMITS: 'off',
      PRESENCE: 'off',
      LOG_FORMAT: 'json',
      ...environment,
    }
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get dataDir(): string {
    return join(this.folder, 'data')
  }

  /** Starts the server and returns once it answers and has said so. */
  async start(environment: Readonly<Record<string, string>> = {}): Promise<HearthProcess> {
    const server = this.spawn([], environment)
    const client = new TestClient(this.baseUrl)
    const answers = async () => {
      if (server.hasEnded) throw new Error('it ended')
      const answer = await client.get('/_matrix/client/versions').catch(() => undefined)
      return answer?.status === 200 && server.log.some(({ msg }) => msg === 'serving')
    }
    await eventually('the server answers', answers, { within: START_MS, every: 10 }).catch((cause: Error) => {
      throw new Error(`the server did not start: ${cause.message}\n${server.output}`, { cause })
    })
    return server
  }

  /** Runs a command to its end. `input` is what it reads from standard input. */
  async run(
    args: readonly string[],
    { input = '', environment = {} as Readonly<Record<string, string>> } = {},
  ): Promise<Ended> {
    const command = this.spawn(args, environment)
    command.child.stdin!.end(input)
    return within(START_MS, command.ended, () => `hearth ${args.join(' ')} does not end:\n${command.output}`)
  }

  spawn(args: readonly string[], environment: Readonly<Record<string, string>> = {}): HearthProcess {
    if (!existsSync(main)) throw new Error(`${main} is missing: run \`npm run build\` first`)
    const child = spawn(process.execPath, [main, ...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? '', ...this.#environment, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stdin.on('error', () => {}) // it ended before it had read everything
    const started = new HearthProcess(child)
    appendFileSync(join(this.folder, 'pids'), `${started.pid}\n`)
    this.#processes.push(started)
    return started
  }

  register = (username = `user-${randomBytes(4).toString('hex')}`): Promise<TestUser> =>
    register(this.baseUrl, username)

  /** The process id of the Postgres that runs in the data folder; undefined where none does. */
  postgres(): number | undefined {
    try {
      const pid = Number.parseInt(readFileSync(join(this.dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10)
      return commandOf(pid).includes(this.dataDir) ? pid : undefined
    } catch {
      return undefined
    }
  }

  /** Kills Postgres with no time to write anything, and waits until it is gone. */
  async killPostgres(): Promise<void> {
    const pid = this.postgres()
    if (pid === undefined) throw new Error(`no Postgres runs in ${this.dataDir}`)
    process.kill(pid, 'SIGKILL')
    await eventually('the killed Postgres is gone', () => !isAlive(pid))
  }

  /** Nothing runs afterwards. */
  async killAll(): Promise<void> {
    for (const one of this.#processes) one.signal('SIGKILL')
    await Promise.all(this.#processes.map((one) => one.ended))
    if (this.postgres() !== undefined) await this.killPostgres()
  }

  async close(): Promise<void> {
    await this.killAll()
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

const installations: Installation[] = []
afterAll(() => Promise.all(installations.map((one) => one.close())), 60_000)

/** It is taken away after the tests of the file. */
export async function installation(environment: Readonly<Record<string, string>> = {}): Promise<Installation> {
  const made = new Installation(await freePort(), environment)
  installations.push(made)
  return made
}

/** Neither gone nor dead and not yet fetched by its parent. */
export const isAlive = (pid: number): boolean => /^[^Z]/.test(ps('stat=', pid))

const commandOf = (pid: number): string => ps('args=', pid)

const ps = (what: string, pid: number): string =>
  spawnSync('ps', ['-o', what, '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()

function makeFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-test-')))
  chmodSync(folder, 0o711) // as root, Postgres runs as another user
  watchOver(folder)
  return folder
}

/** When this process dies, however it dies, its end of the pipe closes, and the watcher ends what was started here. */
function watchOver(folder: string): void {
  const script = `read -r _
    cd "$1" || exit
    while read -r pid; do
      case "$(ps -o args= -p "$pid")" in *"$2"*) kill -KILL "$pid" ;; esac
    done < pids
    read -r pid < data/postgres/postmaster.pid
    case "$(ps -o args= -p "$pid")" in *"$1"*) kill -QUIT "$pid"; sleep 1 ;; esac
    umount data 2> /dev/null
    rm -rf "$1"`
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', folder, main], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watcher.unref()
  ;(watcher.stdin as unknown as { unref(): void }).unref()
}

async function within<T>(ms: number, promise: Promise<T>, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
