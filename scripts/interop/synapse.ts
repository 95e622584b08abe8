/**
 * A real Synapse (https://github.com/element-hq/synapse), installed by whoever runs this:
 *
 *     python3 -m venv venv && venv/bin/pip install matrix-synapse psycopg2-binary
 *     SYNAPSE_PYTHON=venv/bin/python npm run interop
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { makeDatabase, type MadeDatabase } from '../../test/support/make-database.js'
import { freePort } from '../../test/support/free-port.js'
import { linkOfPorts } from '../../test/support/link.js'
import { roomOfSynapse } from './held-room.js'
import { runServer } from './running-server.js'
import type { Server, Surroundings } from './server.js'

const START_MS = 180_000

export interface InstalledSynapse {
  readonly python: string
  readonly version: string
}

/** Or the reason why there is none. */
export function findSynapse(): InstalledSynapse | string {
  const named = process.env.SYNAPSE_PYTHON
  // Not resolved further: a venv's python is a link, and is told by its path which packages it has.
  const python = named === undefined || !named.includes('/') ? (named ?? 'python3') : resolve(named)
  const script = 'import synapse, psycopg2; print(synapse.__version__)'
  const { status, stdout, stderr, error } = spawnSync(python, ['-c', script], { encoding: 'utf8' })
  const hint = 'SYNAPSE_PYTHON names the python of a venv with the packages matrix-synapse and psycopg2-binary'
  if (error !== undefined) return `there is no ${python}; ${hint}`
  if (status !== 0) return `${python}: ${stderr.trim().split('\n').at(-1)}; ${hint}`
  return { python, version: stdout.trim() }
}

export async function startSynapse(installed: InstalledSynapse, { folder, tls }: Surroundings): Promise<Server> {
  const database = await makeDatabase({ max: 2, from: 'template0' })
  const [port, clients, servers] = [await freePort(), await freePort(), await freePort()]
  const name = `localhost:${port}`
  const dataFolder = join(folder, 'synapse')
  mkdirSync(dataFolder)
  const configFile = join(dataFolder, 'homeserver.yaml')
  writeFileSync(configFile, JSON.stringify(configuration({ name, clients, servers, dataFolder, tls, database })))
  writeFileSync(join(dataFolder, 'log.yaml'), JSON.stringify(logging))
  writeFileSync(join(dataFolder, 'signing.key'), `ed25519 interop ${randomBytes(32).toString('base64').slice(0, 43)}\n`)
  const command = {
    program: installed.python,
    args: ['-m', 'synapse.app.homeserver', '-c', configFile],
    folder: dataFolder,
    // For what it does not ask of servers, which federation_custom_ca_list is for.
    environment: { SSL_CERT_FILE: tls.ca },
    logFile: join(folder, 'synapse.log'),
  }
  return runServer({
    kind: 'Synapse',
    name,
    link: linkOfPorts(port, servers),
    database,
    command,
    baseUrl: `http://127.0.0.1:${clients}`,
    patience: START_MS,
    roomOf: roomOfSynapse,
  })
}

interface Settings {
  readonly name: string
  /** The ports for clients, and behind its link. */
  readonly clients: number
  readonly servers: number
  readonly dataFolder: string
  readonly tls: Surroundings['tls']
  readonly database: MadeDatabase
}

const unlimited = { per_second: 10_000, burst_count: 10_000 }
const limits = [
  ...['message', 'registration', 'admin_redaction', 'joins_per_room', 'third_party_invite', 'key_requests'],
  ...['room_creation', 'reports', 'user_directory', 'profile', 'registration_token_validity', 'media_create'],
]
const families = {
  login: ['address', 'account', 'failed_attempts'],
  joins: ['local', 'remote'],
  invites: ['per_room', 'per_user', 'per_issuer'],
  presence: ['per_user'],
}
const rateLimits = {
  ...Object.fromEntries(limits.map((limit) => [`rc_${limit}`, unlimited])),
  ...Object.fromEntries(
    Object.entries(families).map(([family, limits]) => [
      `rc_${family}`,
      Object.fromEntries(limits.map((limit) => [limit, unlimited])),
    ]),
  ),
  rc_federation: { window_size: 1_000, sleep_limit: 100_000, sleep_delay: 1, reject_limit: 100_000, concurrent: 100 },
}

/** It returns to a server that was away within seconds, where its standard is ten minutes. */
const patience = {
  // Longer than anything is held up: who does not tell it the members of a room is not asked again before it is restarted.
  client_timeout: '60s',
  max_long_retries: 1,
  max_short_retries: 1,
  max_long_retry_delay: 500,
  max_short_retry_delay: 500,
  destination_min_retry_interval: '1s',
  destination_retry_multiplier: 1,
  destination_max_retry_interval: '1s',
}

function configuration({ name, clients, servers, dataFolder, tls, database }: Settings): object {
  const listener = (port: number, secure: boolean) => ({
    port,
    tls: secure,
    type: 'http',
    bind_addresses: ['127.0.0.1'],
    resources: [{ names: ['client', 'federation'] }],
  })
  const { socketFolder, user, database: dbname } = database.address
  return {
    server_name: name,
    public_baseurl: `http://localhost:${clients}/`,
    listeners: [listener(clients, false), listener(servers, true)],
    tls_certificate_path: tls.cert,
    tls_private_key_path: tls.key,
    federation_custom_ca_list: [tls.ca],
    ip_range_blacklist: [],
    federation_ip_range_blacklist: [],
    trusted_key_servers: [],
    database: { name: 'psycopg2', args: { host: socketFolder, user, dbname, cp_min: 2, cp_max: 6 } },
    signing_key_path: join(dataFolder, 'signing.key'),
    log_config: join(dataFolder, 'log.yaml'),
    media_store_path: join(dataFolder, 'media'),
    pid_file: join(dataFolder, 'pid'),
    macaroon_secret_key: randomBytes(16).toString('hex'),
    form_secret: randomBytes(16).toString('hex'),
    registration_shared_secret: randomBytes(16).toString('hex'),
    report_stats: false,
    enable_registration: true,
    enable_registration_without_verification: true,
    bcrypt_rounds: 4,
    allow_public_rooms_over_federation: true,
    allow_device_name_lookup_over_federation: true,
    room_list_publication_rules: [{ action: 'allow' }],
    presence: { enabled: true },
    caches: { sync_response_cache_duration: 0 },
    federation: patience,
    ...rateLimits,
  }
}

const logging = {
  version: 1,
  formatters: { short: { format: '%(asctime)s %(levelname)s %(name)s %(request)s %(message)s' } },
  filters: { request: { '()': 'synapse.logging.context.LoggingContextFilter', request: '' } },
  handlers: { console: { class: 'logging.StreamHandler', formatter: 'short', filters: ['request'] } },
  root: { level: 'INFO', handlers: ['console'] },
  loggers: { 'synapse.storage.SQL': { level: 'WARNING' } },
  disable_existing_loggers: false,
}
