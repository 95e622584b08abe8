import { relative } from 'node:path'
import { type Config, loadConfig } from '../config.js'
import { keepGarbageSmall } from '../garbage.js'
import { type Homeserver, startHomeserver } from '../homeserver.js'
import { createLogger, type Logger } from '../logger.js'
import { onTheFederation } from './on-the-federation.js'

/** Serves until SIGINT, SIGTERM or SIGHUP. */
export async function serve({ signingKeyRotated }: { signingKeyRotated?: boolean }): Promise<void> {
  const { config, secrets, warnings } = loadConfig()
  const log = createLogger(config.log.level, config.log.format)
  for (const warning of warnings) log.warn(warning)
  endOnFaults(log)
  keepGarbageSmall()

  const signals = new StopSignals()
  const homeserver = await startHomeserver(config, secrets, { log, signingKeyRotated })
  announce(homeserver, config, log)
  log.info({ signal: await signals.first }, 'stopping')
  await Promise.race([homeserver.close(), signals.second.then(() => homeserver.close('quick'))])
  log.info('stopped')
  process.exit(0)
}

/** What nobody caught is a fault of ours whose extent is unknown. Nothing acknowledged is lost by ending here. */
function endOnFaults(log: Logger): void {
  const end = (err: unknown) => {
    log.fatal({ err }, 'a fault that nobody caught; ending')
    process.exit(1)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

/**
 * The first signal asks for an orderly stop, the second for a quick one. Ctrl-C under `npm start` arrives twice, from the
 * terminal and from npm, so what comes within a second of the first is the same wish.
 */
class StopSignals {
  readonly first: Promise<NodeJS.Signals>
  readonly second: Promise<void>

  constructor(now: () => number = () => performance.now()) {
    let firstAt: number | undefined
    let stop: (signal: NodeJS.Signals) => void
    let hurry: () => void
    this.first = new Promise((resolve) => (stop = resolve))
    this.second = new Promise((resolve) => (hurry = resolve))
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        firstAt ??= now()
        if (now() - firstAt > 1_000) hurry()
        else stop(name)
      })
    }
  }
}

/** For people on a terminal a few lines that can be acted on; for machines the same in the log. */
function announce({ addresses, baseUrl, place, setupLink }: Homeserver, config: Config, log: Logger): void {
  if (config.log.format === 'json') {
    // Whoever turned the level up to warn needs it, too.
    if (setupLink !== undefined) {
      log.warn({ setup_link: setupLink }, 'nobody administers this server yet; the link makes the first account')
    }
    log.info(
      {
        addresses,
        base_url: baseUrl,
        server_name: config.serverName,
        other_servers: onTheFederation(config),
        data: place,
      },
      'serving',
    )
    return
  }
  process.stdout.write(summary({ addresses, baseUrl, place, setupLink }, config))
}

/** Exported for its test. */
export function summary({ addresses, baseUrl, place, setupLink }: Omit<Homeserver, 'close'>, config: Config): string {
  const { serverName, dataDir, database, signingKeyFile } = config
  const keyIsInData = database.own && !relative(dataDir, signingKeyFile).startsWith('..')
  const rows = [
    ['Address', addresses.join(', ') + (addresses.includes(baseUrl) ? '' : ` (clients use ${baseUrl})`)],
    ['Server name', `${serverName} (users are @name:${serverName})`],
    ['Federation', onTheFederation(config)],
    ['Data', `${place} (${keyIsInData ? 'database and signing key' : 'database'}: back it up)`],
    ['Signing key', keyIsInData ? signingKeyFile : `${signingKeyFile} (back it up, too)`],
  ]
  const table = rows.map(([name = '', text = '']) => `  ${name.padEnd(13)}${text}`)
  return `${['', 'Hearth is running.', '', ...table, ...hints(setupLink, serverName), '', 'Ctrl-C stops it.', ''].join('\n')}\n`
}

function hints(setupLink: string | undefined, serverName: string): string[] {
  const setup = [
    '',
    'Nobody administers this server yet. Open this link in a browser to make the first account (good until used):',
    '',
    `  ${setupLink ?? ''}`,
  ]
  const name = [
    '',
    'The server name "localhost" is for trying things out. Set SERVER_NAME before you invite people: it cannot change later.',
  ]
  return [...(setupLink === undefined ? [] : setup), ...(serverName === 'localhost' ? name : [])]
}
