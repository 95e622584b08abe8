import { newSetupToken } from './accounts/setup.js'
import { assemble } from './assemble.js'
import type { Config, ListenAddress, Secrets } from './config.js'
import { listen, type RunningServer } from './http/server.js'
import type { Logger } from './logger.js'
import { metricsApp } from './metrics.js'
import { establishIdentity } from './server-identity.js'
import { openServerDatabase } from './server-database.js'

export interface Homeserver {
  /** What clients are told to use. */
  readonly baseUrl: string
  /** The addresses that are served, as URLs. */
  readonly addresses: readonly string[]
  /** Where the data is, for people. */
  readonly place: string
  /** Where the first administrator is made in a browser; undefined once there is one. */
  readonly setupLink: string | undefined
  /**
   * Takes apart in reverse: no new requests, those in progress end, what waits for the writer is written, then the
   * database. `quick` waits for nothing; what was acknowledged is safe all the same.
   */
  close(how?: 'quick'): Promise<void>
}

export interface HomeserverOptions {
  readonly log: Logger
  /** The operator says that another signing key than the recorded one is meant. */
  readonly signingKeyRotated?: boolean
}

const GRACE_MS = 10_000

/** The one place where things are built and taken apart. */
export async function startHomeserver(
  config: Config,
  secrets: Secrets,
  options: HomeserverOptions,
): Promise<Homeserver> {
  const { log } = options
  const parts = new Parts()
  try {
    const database = await openServerDatabase(config, secrets, { command: 'hearth', log })
    parts.add((how) => database.close(how))
    const identity = await establishIdentity(database, config, { rotated: options.signingKeyRotated })
    const shuttingDown = new AbortController()
    const { app, close } = await assemble({
      config,
      secrets,
      database,
      identity,
      log,
      shuttingDown: shuttingDown.signal,
    })
    parts.add(close)

    const plain = await listen(app, { ...config.http.listen, logger: log })
    parts.add((how) => plain.close(how === 'quick' ? 0 : GRACE_MS))
    const addresses = [urlOf('http', config.http.listen, plain)]
    const { tls } = config.http
    if (tls !== undefined) {
      const secure = await listen(app, { ...tls.listen, tls, logger: log })
      parts.add((how) => secure.close(how === 'quick' ? 0 : GRACE_MS))
      addresses.push(urlOf('https', tls.listen, secure))
    }
    const { metrics } = config
    if (metrics !== undefined) {
      const figures = await listen(metricsApp(database.db, log), { ...metrics, logger: log })
      parts.add(() => figures.close(0))
      log.info({ url: `${urlOf('http', metrics, figures)}/metrics` }, 'serving metrics')
    }
    parts.add(async () => shuttingDown.abort())
    database.tellAddress(addresses.join(' and '))

    const baseUrl = config.publicBaseUrl.replace(/:0$/, `:${plain.port}`)
    const token = await newSetupToken(database.db)
    return {
      baseUrl,
      addresses,
      place: database.place,
      setupLink: token === undefined ? undefined : `${baseUrl}/setup/${token}`,
      close: (how) => parts.close(how),
    }
  } catch (error) {
    await parts.close()
    throw error
  }
}

/** The part of a running thing that ends it. */
type End = (how?: 'quick') => Promise<void>

/** What has been started, ended in reverse. */
class Parts {
  readonly #ends: End[] = []

  add(end: End): void {
    this.#ends.push(end)
  }

  async close(how?: 'quick'): Promise<void> {
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) await end(how)
  }
}

function urlOf(scheme: string, { host }: ListenAddress, { port }: RunningServer): string {
  const name = host === '127.0.0.1' ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `${scheme}://${name}:${port}`
}
