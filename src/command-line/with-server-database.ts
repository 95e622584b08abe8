import { type Config, loadConfig } from '../config.js'
import { createLogger } from '../logger.js'
import { joinServerDatabase } from '../server-database.js'
import { establishIdentity } from '../server-identity.js'
import type { Database } from '../store/database.js'

/** Runs a command on the data of the configuration, whether the server runs or not. Standard output is the command's own. */
export async function withServerDatabase(
  command: string,
  run: (database: Database, config: Config) => Promise<void>,
): Promise<void> {
  const { config, secrets, warnings } = loadConfig()
  const log = createLogger('warn', 'pretty', (line) => void process.stderr.write(line))
  for (const warning of warnings) log.warn(warning)
  const database = await joinServerDatabase(config, secrets, { command, log, max: 2 })
  try {
    await establishIdentity(database, config)
    await run(database, config)
  } finally {
    await database.close()
  }
}
