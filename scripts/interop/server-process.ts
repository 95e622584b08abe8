import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { TestClient } from '../../test/support/http.js'
import { eventually } from '../../test/support/eventually.js'

export interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  /** What it prints is added to it. */
  readonly logFile: string
}

/** A server that was started here, and ends with this process, however this one ends. */
export class ServerProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #hasEnded = false
  #tail = ''

  constructor({ program, args, folder, environment, logFile }: Command) {
    const child = spawn(program, args, {
      cwd: folder,
      env: { PATH: process.env.PATH ?? '', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    const log = createWriteStream(logFile, { flags: 'a' })
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#tail = (this.#tail + chunk.toString()).slice(-4_000)))
      stream.pipe(log, { end: false })
    }
    this.#ended = new Promise((resolve) => {
      const ended = () => {
        this.#hasEnded = true
        resolve()
      }
      child.once('error', ended).once('close', ended)
    })
    watchOver(child)
  }

  async answers(baseUrl: string, within: number): Promise<void> {
    const client = new TestClient(baseUrl)
    const does = async () => {
      if (this.#hasEnded) throw new Error(`it ended:\n${this.#tail}`)
      return (await client.get('/_matrix/client/versions').catch(() => undefined))?.status === 200
    }
    await eventually(`${baseUrl} answers`, does, { within, every: 200 })
  }

  /** Asks it to end, and kills it when it has not after ten seconds. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    this.#child.kill('SIGTERM')
    await this.#ended
    clearTimeout(timer)
  }
}

/** When this process dies, its end of the pipe closes, and the watcher ends the child. */
function watchOver({ pid, spawnfile }: ChildProcess): void {
  if (pid === undefined) return
  const script = `read -r _
    case "$(ps -o args= -p "$1")" in *"$2"*) kill -KILL "$1" ;; esac`
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', String(pid), spawnfile], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watcher.unref()
  ;(watcher.stdin as unknown as { unref(): void }).unref()
}
