import { createHash, randomBytes } from 'node:crypto'
import { chownSync, linkSync, lstatSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * DATA_DIR: everything that is not in Postgres, and Hearth's own Postgres where no other is named.
 *
 * While its own Postgres runs from it, one process holds the folder, by listening on a Unix socket in it. The kernel
 * lets go of a socket when its process dies, however it dies, so a stale lock shows itself by refusing connections;
 * process ids do not (they are reused after a restart, and differ between containers that share a volume). And the
 * holder can be asked who it is.
 */

/** Who holds a data folder, as it tells others. */
export interface Holder {
  readonly pid: number
  /** ISO 8601. */
  readonly since: string
  /** The command, as `hearth` or `hearth user add`. */
  readonly command: string
  /** Where it serves HTTP, once it does. */
  readonly address?: string
}

export interface Hold {
  /** Adds to what others are told. */
  tell(more: Pick<Holder, 'address'>): void
  release(): void
}

/** Somebody else holds the folder. `holder` is undefined where it does not answer. */
export class DataFolderHeld extends Error {
  override readonly name = 'DataFolderHeld'
  constructor(
    readonly folder: string,
    readonly holder: Holder | undefined,
  ) {
    super(`${folder} is in use by ${described(holder)}`)
  }
}

function described(holder: Holder | undefined): string {
  if (holder === undefined) return 'a process that does not say who it is (stopped, or of another user)'
  const address = holder.address === undefined ? '' : `, serving ${holder.address}`
  return `${holder.command}, process ${holder.pid}, since ${holder.since}${address}`
}

/** Makes the folder where it is missing and returns its real path. As root it stays passable for the user of Postgres. */
export function makeDataFolder(path: string): string {
  mkdirSync(path, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
  return realpathSync(path)
}

/** A socket's path may have 107 bytes on Linux and 103 on macOS, and the names in the folder have 13. */
const LONGEST_SOCKET_FOLDER = 88

/**
 * The private folder (0700) of the sockets of a data folder: `run` in it, or, where that path is too long for a
 * socket, one under the temporary folder that is found again by its name. `owner` is the user Postgres runs as.
 */
export function socketFolder(dataFolder: string, owner?: { uid: number; gid: number }): string {
  const near = join(dataFolder, 'run')
  const name = createHash('sha256').update(dataFolder).digest('hex').slice(0, 16)
  const folder = Buffer.byteLength(near) <= LONGEST_SOCKET_FOLDER ? near : join(tmpdir(), `hearth-${name}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  refuseStrangersFolder(folder)
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid)
  return folder
}

/** In a temporary folder anybody could have made that name before us. */
function refuseStrangersFolder(folder: string): void {
  const self = process.getuid?.()
  const found = lstatSync(folder)
  const ours = self === 0 || found.uid === self
  if (!found.isDirectory() || !ours || (found.mode & 0o077) !== 0) {
    throw new Error(`${folder} is to hold the database's socket, but is not a private folder of this user`)
  }
}

/** Takes the folder for this process, or throws `DataFolderHeld`. `sockets` is its socket folder. */
export async function holdDataFolder(dataFolder: string, sockets: string, command: string): Promise<Hold> {
  let holder: Holder = { pid: process.pid, since: new Date().toISOString(), command }
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(JSON.stringify(holder))
  })
  const own = join(sockets, `lock.${randomBytes(4).toString('hex')}`)
  const lock = join(sockets, 'lock')
  await listen(server, own)
  try {
    await take(dataFolder, own, lock)
  } catch (error) {
    server.close()
    throw error
  } finally {
    rmSync(own, { force: true })
  }
  return {
    tell: (more) => (holder = { ...holder, ...more }),
    release() {
      rmSync(lock, { force: true })
      server.close()
    },
  }
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    server.once('error', failed)
    server.listen(path, done)
  })
  server.unref()
}

/** The name `lock` is given to our socket in one atomic step that fails where the name is taken. */
async function take(dataFolder: string, own: string, lock: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      linkSync(own, lock)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const seen = lstatSync(lock, { throwIfNoEntry: false })?.ino
    const answer = await ask(lock)
    if (answer.state === 'held') throw new DataFolderHeld(dataFolder, answer.holder)
    if (answer.state === 'stale' && seen !== undefined) removeStale(own, lock, seen)
  }
  throw new DataFolderHeld(dataFolder, undefined)
}

/** Removes the lock that was seen to be stale. Another process may have done so and put its own there: that goes back. */
function removeStale(own: string, lock: string, seen: number): void {
  const aside = `${own}.stale`
  try {
    renameSync(lock, aside)
  } catch {
    return // somebody else removed it
  }
  if (lstatSync(aside).ino !== seen) linkSync(aside, lock)
  rmSync(aside, { force: true })
}

type Answer = { state: 'free' | 'stale' } | { state: 'held'; holder: Holder | undefined }

/** Asks whoever listens on the lock; a holder that is stopped still accepts, and is waited for for two seconds. */
function ask(lock: string): Promise<Answer> {
  return new Promise((answer) => {
    let text = ''
    const socket = connect(lock)
    socket.setTimeout(2_000, () => socket.destroy())
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    socket.once('close', () => answer({ state: 'held', holder: parseHolder(text) }))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT') answer({ state: 'free' })
      else if (code === 'ECONNREFUSED') answer({ state: 'stale' })
    })
  })
}

function parseHolder(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder
  } catch {
    return undefined
  }
}
