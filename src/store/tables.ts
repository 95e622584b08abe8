import type { LogTables } from './log-tables.js'
import type { ServerTables } from './server.js'

/** Every table of `schema/` as Kysely sees it; each part stands beside the module that writes it. */
export interface Tables extends ServerTables, LogTables {}
