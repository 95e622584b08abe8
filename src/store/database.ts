import { Kysely, PostgresDialect } from 'kysely'
import { userInfo } from 'node:os'
import type { Writable } from 'node:stream'
import pg from 'pg'
import type { Logger } from '../logger.js'
import type { Tables } from './tables.js'

/** Where a Postgres is: a connection URL, or the socket folder of our own. */
export type DatabaseAddress =
  { readonly url: string } | { readonly socketFolder: string; readonly user: string; readonly database: string }

export interface Database {
  readonly db: Kysely<Tables>
  readonly pool: pg.Pool
  /** As `ownConnection`. */
  connect(): pg.Client
  close(): Promise<void>
}

/**
 * A pool of connections, which are made when they are needed and replaced when they break: a database that goes away
 * fails the queries of that time, and the next ones after its return succeed.
 */
export function openDatabase(address: DatabaseAddress, options: { max: number; log: Logger }): Database {
  const pool = new pg.Pool({ ...connectionConfig(address), max: options.max, Client: NamingClient })
  // A connection that breaks while nobody queries it says so here; without a listener the process would end.
  // Of the error only two words are logged: the pool hangs the connection on it, password and all.
  pool.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    // The pool ends before its connections have: those may still hear that Postgres stops.
    if (!pool.ending) options.log.warn({ code, reason: message }, 'an idle database connection broke')
  })
  pool.on('connect', (client) => client.on('error', () => {}))
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  return {
    db,
    pool,
    connect: () => ownConnection(address),
    // Kysely ends the pool it was given only if it was ever used.
    close: async () => void (pool.ended || (await pool.end())),
  }
}

/**
 * A connection beside the pool, not connected yet: for the log writer's lane, for LISTEN. Queries that are made before the
 * answer to the last has come are sent at once.
 */
export const ownConnection = (address: DatabaseAddress): pg.Client =>
  new NamingClient({ ...connectionConfig(address), pipeline: true })

// Of a URL without one, as psql has it. The driver itself goes by USER, which services and containers are not given.
pg.defaults.user ||= systemUser()

/** Undefined for a user id that has no name, as a container may run with. */
function systemUser(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}

/** With our type parsers. Five seconds without an answer are a database that is away. */
export function connectionConfig(address: DatabaseAddress): pg.ClientConfig {
  const where =
    'url' in address
      ? { connectionString: address.url }
      : { host: address.socketFolder, user: address.user, database: address.database }
  const manner = { application_name: 'hearth', connectionTimeoutMillis: 5_000, keepAlive: true }
  return { ...where, ...manner, types: { getTypeParser } }
}

const INT8 = pg.types.builtins.INT8
const INT8_ARRAY = 1016 as typeof INT8

/** int8 as number: every integer of ours stays below 2^53, and one that does not is a fault. The rest is as `pg` does it. */
const getTypeParser = ((oid: number, format?: 'text') => {
  if (oid === INT8) return parseInt8
  if (oid === INT8_ARRAY) return parseInt8Array
  return pg.types.getTypeParser(oid, format)
}) as typeof pg.types.getTypeParser

export function parseInt8(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`the database holds ${text}, beyond what a number can hold`)
  return value
}

/** `{1,2,NULL}`; arrays of one dimension are all we have. */
export function parseInt8Array(text: string): (number | null)[] {
  if (text === '{}') return []
  const items = text.slice(1, -1).split(',')
  return items.map((item) => (item === 'NULL' ? null : parseInt8(item)))
}

const MOST_NAMES = 1_000
const statementNames = new Map<string, string>()

/**
 * A name per text of a statement: Postgres then parses and plans it once per connection, which halves its work.
 * Kysely sends none. Texts that vary with their input would grow the map and every
 * connection's memory without end, so after the first thousand the rest go unnamed. Write `= any($1)`, never `in (…)`.
 * Lists in statements that are long to plan: lists.ts.
 */
export function statementName(text: string): string | undefined {
  const known = statementNames.get(text)
  if (known !== undefined || statementNames.size >= MOST_NAMES) return known
  const name = `s${statementNames.size}`
  statementNames.set(text, name)
  return name
}

/** Names the statements that have parameters. Those without (`begin`, `commit`, migrations) use the simple protocol. */
class NamingClient extends pg.Client {
  // pg's overloads cannot be overridden one by one; what is passed on is what came in, or the same with a name.
  override query(...args: unknown[]): never {
    const [text, values, ...rest] = args
    const query = super.query.bind(this) as (...args: unknown[]) => never
    if (typeof text !== 'string' || !Array.isArray(values) || values.length === 0) return query(...args)
    return query({ name: statementName(text), text, values }, ...rest)
  }
}

/** What the task queries goes to the database in one write: a write costs more than what is in it. */
export function sentTogether<T>(client: pg.Client, task: () => T): T {
  const { stream } = (client as unknown as { readonly connection: { readonly stream: Writable } }).connection
  stream.cork()
  try {
    return task()
  } finally {
    stream.uncork()
  }
}

const OLDEST_VERSION = 14

/**
 * Waits for nothing: throws, in words for the operator, where this Postgres cannot serve. Returns what is unwise about
 * it but allowed.
 */
export async function checkServer(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{
    version: string
    encoding: string
    isolation: string
    fsync: string
    commit: string
  }>(`
    select
      current_setting('server_version_num') as version,
      current_setting('server_encoding') as encoding,
      current_setting('default_transaction_isolation') as isolation,
      current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as commit`)
  const found = rows[0]
  if (found === undefined) throw new Error('the database answered without an answer')
  const major = Math.floor(Number(found.version) / 10_000)
  if (major < OLDEST_VERSION) throw new Error(`Postgres ${OLDEST_VERSION} or newer is needed; this one is ${major}`)
  if (found.encoding !== 'UTF8') throw new Error(`The database must have encoding UTF8; this one has ${found.encoding}`)
  if (found.isolation !== 'read committed') {
    throw new Error(`default_transaction_isolation must be "read committed"; here it is "${found.isolation}"`)
  }
  return Object.entries({ fsync: found.fsync, synchronous_commit: found.commit })
    .filter(([, value]) => value === 'off')
    .map(([name]) => `${name} is off: a crash can lose what was acknowledged`)
}
