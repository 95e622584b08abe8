import type { Config, Secrets } from './config.js'
import { DataFolderHeld, holdDataFolder, makeDataFolder, socketFolder } from './data-folder.js'
import type { Logger } from './logger.js'
import { checkServer, type Database, type DatabaseAddress, openDatabase } from './store/database.js'
import { migrate } from './store/migrations.js'
import { OWN_POSTGRES_DATABASE, OWN_POSTGRES_USER, startOwnPostgres } from './store/own-postgres.js'

/** The database of the configuration, running, with the schema of this release. */
export interface ServerDatabase extends Database {
  /** Where it is, for people. */
  readonly place: string
  /** Tells whoever asks for the data folder where this process serves. */
  tellAddress(address: string): void
  /** Ends the connections and then, where it is our own, Postgres. */
  close(how?: 'quick'): Promise<void>
}

interface Options {
  /** What this process is doing, as it is told to another that wants the data folder. */
  readonly command: string
  readonly log: Logger
  readonly max?: number
}

/** Throws `DataFolderHeld` where another process runs Hearth's own Postgres from this data folder. */
export async function openServerDatabase(config: Config, secrets: Secrets, options: Options): Promise<ServerDatabase> {
  const folder = makeDataFolder(config.dataDir)
  if (secrets.databaseUrl !== undefined) {
    return connected({ url: secrets.databaseUrl }, 'DATABASE_URL', options, { tell() {}, stop: async () => {} })
  }
  const sockets = socketFolder(folder)
  const hold = await holdDataFolder(folder, sockets, options.command)
  try {
    const { log } = options
    const postgres = await startOwnPostgres({ dataFolder: folder, searchPath: config.database.searchPath, log })
    const stop = async (how?: 'quick') => {
      await postgres.stop(how)
      hold.release()
    }
    return await connected(postgres, folder, options, { tell: (address) => hold.tell({ address }), stop })
  } catch (error) {
    hold.release()
    throw error
  }
}

interface Keeper {
  tell(address: string): void
  stop(how?: 'quick'): Promise<void>
}

async function connected(
  address: DatabaseAddress,
  place: string,
  { log, max = 20 }: Options,
  keeper: Keeper,
): Promise<ServerDatabase> {
  const database = openDatabase(address, { max, log })
  const close = async (how?: 'quick') => {
    // Held connections would make the pool wait for whoever holds them; a quick end does not ask.
    if (how !== 'quick') await database.close()
    await keeper.stop(how)
  }
  try {
    for (const doubt of await checkServer(database.pool)) log.warn(doubt)
    for (const name of await migrate(database.db)) log.debug({ migration: name }, 'the schema has grown')
    return { ...database, place, tellAddress: (at) => keeper.tell(at), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** How long a command waits for the process that holds the data folder to have its database ready, or to be gone. */
const PATIENCE_MS = 15_000

/** For commands: the same, or, while the server runs, connections to its Postgres. */
export async function joinServerDatabase(config: Config, secrets: Secrets, options: Options): Promise<ServerDatabase> {
  const until = Date.now() + PATIENCE_MS
  for (;;) {
    try {
      return await openServerDatabase(config, secrets, options)
    } catch (error) {
      if (!(error instanceof DataFolderHeld)) throw error
      const joined = await connectToHolder(error.folder, options)
      if (joined !== undefined) return joined
      if (Date.now() > until) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Undefined while the holder's Postgres does not answer yet. Its schema is the holder's business. */
async function connectToHolder(folder: string, { log, max = 2 }: Options): Promise<ServerDatabase | undefined> {
  const address = { socketFolder: socketFolder(folder), user: OWN_POSTGRES_USER, database: OWN_POSTGRES_DATABASE }
  const database = openDatabase(address, { max, log })
  try {
    await database.db.selectFrom('server').select('server_name').execute()
    return { ...database, place: folder, tellAddress() {} }
  } catch {
    await database.close() // starting, stopping, or its schema is not there yet: asked again
    return undefined
  }
}
