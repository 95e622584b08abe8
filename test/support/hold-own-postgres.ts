import { silentLogger } from '../../src/logger.js'
import { holdDataFolder, socketFolder } from '../../src/data-folder.js'
import { startOwnPostgres } from '../../src/store/own-postgres.js'

/** A process for tests to kill: holds the data folder of its argument, starts Postgres in it, says so, and waits. Ends with its parent. */
const dataFolder = process.argv[2] ?? ''
await holdDataFolder(dataFolder, socketFolder(dataFolder), 'hearth under test')
await startOwnPostgres({ dataFolder, searchPath: process.env.PATH ?? '', log: silentLogger })
process.stdout.write('ready\n')
process.stdin.on('end', () => process.exit()).resume()
