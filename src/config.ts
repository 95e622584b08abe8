import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { accessSync, constants, lstatSync, readFileSync, statSync } from 'node:fs'
import { BlockList, isIP, isIPv6 } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { inspect, parseEnv } from 'node:util'
import type { LogFormat, LogLevel } from './logger.js'
import { isServerName } from './protocol/identifiers.js'

/**
 * Configuration: text from the environment and `.env`, checked and completed here, once, into a frozen `Config`. This
 * is the only file that reads the environment. `.env.example` is the manual of every variable.
 */
export interface Config {
  readonly serverName: string
  /** What clients are told to use, without a slash at the end. */
  readonly publicBaseUrl: string
  readonly http: {
    readonly listen: ListenAddress
    /** Undefined where everything is plain HTTP. */
    readonly tls: { readonly listen: ListenAddress; readonly certFile: string; readonly keyFile: string } | undefined
    /** Addresses and CIDR ranges. */
    readonly trustedProxies: readonly string[]
    readonly rateLimits: boolean
  }
  readonly database: {
    /** Hearth's own Postgres under the data folder; otherwise the one `Secrets.databaseUrl` names. */
    readonly own: boolean
    /** PATH, where an installed Postgres is looked for when no packaged one fits. */
    readonly searchPath: string
  }
  readonly dataDir: string
  readonly signingKeyFile: string
  readonly registration: Registration
  readonly presence: PresenceMode
  readonly cacheMb: number
  readonly outbound: {
    readonly trustedCaFile: string | undefined
    /** Ranges exempt from the deny-list of outgoing requests. */
    readonly allow: readonly string[] | 'all'
  }
  /** Servers that are asked for the keys of those that do not answer. */
  readonly keyNotaries: readonly string[]
  /** Where figures are served; undefined: nowhere. */
  readonly metrics: ListenAddress | undefined
  readonly log: { readonly level: LogLevel; readonly format: LogFormat }
}

export interface ListenAddress {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export type Registration = 'closed' | 'token' | 'open'

/** Whether it is kept at all, and whether other servers are told of our users. */
export type PresenceMode = 'off' | 'local' | 'federated'

/** Kept apart from `Config` so that showing or logging that one is harmless; shows itself as nothing. */
export class Secrets {
  readonly #databaseUrl: string | undefined
  readonly #registrationSharedSecret: string | undefined

  constructor(values: { databaseUrl?: string; registrationSharedSecret?: string } = {}) {
    this.#databaseUrl = values.databaseUrl
    this.#registrationSharedSecret = values.registrationSharedSecret
  }

  get databaseUrl(): string | undefined {
    return this.#databaseUrl
  }

  get registrationSharedSecret(): string | undefined {
    return this.#registrationSharedSecret
  }

  toJSON(): string {
    return '[secrets]'
  }

  [inspect.custom](): string {
    return '[secrets]'
  }
}

/** Everything that is wrong with the configuration, each mistake with the variable that makes it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  constructor(readonly mistakes: readonly { readonly variable: string; readonly message: string }[]) {
    super(mistakes.map(({ variable, message }) => `${variable}: ${message}`).join('\n'))
  }
}

export interface Configuration {
  readonly config: Config
  readonly secrets: Secrets
  /** What is allowed but probably not meant. */
  readonly warnings: readonly string[]
}

const variables = [
  'SERVER_NAME',
  'PUBLIC_BASE_URL',
  'TRUSTED_PROXIES',
  'CACHE_MB',
  'LISTEN',
  'TLS_LISTEN',
  'TLS_CERT_FILE',
  'TLS_KEY_FILE',
  'METRICS_LISTEN',
  'DATABASE_URL',
  'DATA_DIR',
  'SIGNING_KEY_FILE',
  'REGISTRATION',
  'REGISTRATION_SHARED_SECRET',
  'PRESENCE',
  'RATE_LIMITS',
  'TRUSTED_CA_FILE',
  'OUTBOUND_ALLOW',
  'KEY_NOTARIES',
  'LOG_LEVEL',
  'LOG_FORMAT',
] as const
type Variable = (typeof variables)[number]
/** These may be given as the path of a file that holds them, in the variable with `_FILE` after its name. */
const secretVariables = ['DATABASE_URL', 'REGISTRATION_SHARED_SECRET'] as const
type SecretVariable = (typeof secretVariables)[number]

type Environment = Readonly<Record<string, string | undefined>>

/** The configuration of this process: its environment, over the `.env` of its working directory. */
export function loadConfig(): Configuration {
  return readConfig(process.env, {
    dotenv: readIfThere(resolve('.env')),
    folder: process.cwd(),
    terminal: process.stdout.isTTY === true,
  })
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return ''
    throw new ConfigError([{ variable: '.env', message: `cannot be read: ${message}` }])
  }
}

/** Throws `ConfigError` with all mistakes at once. Relative paths are taken from `folder`. An empty variable is an absent one. */
export function readConfig(
  environment: Environment,
  { dotenv = '', folder = process.cwd(), terminal = false } = {},
): Configuration {
  const fromFile = parseEnv(dotenv) as Environment
  const reader = new Reader({ ...fromFile, ...present(environment) }, folder)
  const config = readAll(reader, terminal)
  const secrets = readSecrets(reader)
  if (reader.mistakes.length > 0) throw new ConfigError(reader.mistakes)
  const own = secrets.databaseUrl === undefined
  const complete = { ...config, database: { own, searchPath: environment['PATH'] ?? '' } }
  return { config: freeze(complete), secrets, warnings: [...unknownNames(fromFile), ...doubts(complete)] }
}

const present = (environment: Environment): Environment =>
  Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''))

function readAll(read: Reader, terminal: boolean): Omit<Config, 'database'> {
  const serverName = read.get('SERVER_NAME', parseServerName, 'localhost')
  const listen = read.get('LISTEN', parseListen, '127.0.0.1:8008')
  const dataDir = read.get('DATA_DIR', (text) => parseFolder(read.path(text)), './data')
  const signingKeyFile = read.get(
    'SIGNING_KEY_FILE',
    (text) => parseKeyFile(read.path(text)),
    dataDir && join(dataDir, 'signing.key'),
  )
  const tls = readTls(read, listen)
  const trustedCaFile = read.get('TRUSTED_CA_FILE', (text) => parseCertificates(read.path(text)))
  // What could not be read has left its mistake, and the result is not used.
  return {
    serverName: serverName ?? '',
    publicBaseUrl: read.get('PUBLIC_BASE_URL', parseBaseUrl, defaultBaseUrl(serverName, listen)) ?? '',
    http: {
      listen: listen ?? { host: '', port: 0 },
      tls,
      trustedProxies: read.get('TRUSTED_PROXIES', parseProxies, 'loopback') ?? [],
      rateLimits: read.get('RATE_LIMITS', oneOf('on', 'off'), 'on') === 'on',
    },
    dataDir: dataDir ?? '',
    signingKeyFile: signingKeyFile ?? '',
    registration: read.get('REGISTRATION', oneOf('closed', 'token', 'open'), 'closed') ?? 'closed',
    presence: read.get('PRESENCE', oneOf('off', 'local', 'federated'), 'local') ?? 'local',
    cacheMb: read.get('CACHE_MB', parseCacheMb, '256') ?? 0,
    outbound: { trustedCaFile, allow: read.get('OUTBOUND_ALLOW', parseAllow) ?? [] },
    keyNotaries: read.get('KEY_NOTARIES', parseServerNames) ?? [],
    metrics: readMetrics(read, { LISTEN: listen, TLS_LISTEN: tls?.listen }),
    log: {
      level: read.get('LOG_LEVEL', oneOf(...logLevels), 'info') ?? 'info',
      format: read.get('LOG_FORMAT', oneOf('json', 'pretty'), terminal ? 'pretty' : 'json') ?? 'json',
    },
  }
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** The three go together, and the certificate must be the key's. */
function readTls(read: Reader, plain: ListenAddress | undefined): Config['http']['tls'] {
  const listen = read.get('TLS_LISTEN', parseListen)
  const certFile = read.get('TLS_CERT_FILE', (text) => readableFile(read.path(text)))
  const keyFile = read.get('TLS_KEY_FILE', (text) => readableFile(read.path(text)))
  const names = ['TLS_LISTEN', 'TLS_CERT_FILE', 'TLS_KEY_FILE'] as const
  const missing = names.filter((name) => !read.has(name))
  if (missing.length === 3) return undefined
  const given = names.filter((name) => read.has(name)).join(' and ')
  for (const name of missing) read.mistake(name, `is missing, and is needed with ${given}`)

  if (listen === undefined || certFile === undefined || keyFile === undefined) return undefined
  read.attempt('TLS_CERT_FILE', () =>
    checkCertificate(
      certFile,
      read.attempt('TLS_KEY_FILE', () => parseKey(keyFile)),
    ),
  )
  if (isSameAddress(listen, plain)) read.mistake('TLS_LISTEN', 'is the same address as LISTEN')
  return { listen, certFile, keyFile }
}

function readMetrics(
  read: Reader,
  taken: Readonly<Record<string, ListenAddress | undefined>>,
): ListenAddress | undefined {
  const listen = read.get('METRICS_LISTEN', parseListen)
  for (const [name, address] of Object.entries(taken)) {
    if (isSameAddress(listen, address)) read.mistake('METRICS_LISTEN', `is the same address as ${name}`)
  }
  return listen
}

const isSameAddress = (one: ListenAddress | undefined, other: ListenAddress | undefined): boolean =>
  one !== undefined && one.port !== 0 && one.port === other?.port && one.host === other.host

function parseKey(keyFile: string): KeyObject {
  return because(`${keyFile} holds no private key in PEM`, () => createPrivateKey(readFileSync(keyFile)))
}

function checkCertificate(certFile: string, key: KeyObject | undefined): void {
  const certificate = because(
    `${certFile} holds no certificate in PEM`,
    () => new X509Certificate(readFileSync(certFile)),
  )
  if (key !== undefined && !certificate.checkPrivateKey(key)) {
    throw new Error('the certificate (the first in the file) is not the one of the key in TLS_KEY_FILE')
  }
}

function because<T>(message: string, attempt: () => T): T {
  try {
    return attempt()
  } catch (cause) {
    throw new Error(message, { cause })
  }
}

function readSecrets(read: Reader): Secrets {
  const databaseUrl = read.secret('DATABASE_URL', parseDatabaseUrl)
  const registrationSharedSecret = read.secret('REGISTRATION_SHARED_SECRET', parseSharedSecret)
  return new Secrets({ databaseUrl, registrationSharedSecret })
}

/** Reads variables one by one and keeps what is wrong with them. What is wrong reads as undefined. */
class Reader {
  readonly mistakes: { variable: string; message: string }[] = []
  readonly #values: Environment
  readonly #folder: string

  constructor(values: Environment, folder: string) {
    this.#values = values
    this.#folder = folder
  }

  has(name: Variable): boolean {
    return this.#text(name) !== undefined
  }

  path(text: string): string {
    return resolve(this.#folder, text)
  }

  mistake(variable: string, message: string): void {
    this.mistakes.push({ variable, message })
  }

  attempt<T>(variable: string, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      this.mistake(variable, error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  get<T>(name: Variable, parse: (text: string) => T, defaultText?: string): T | undefined {
    const text = this.#text(name) ?? defaultText
    return text === undefined ? undefined : this.attempt(name, () => parse(text))
  }

  secret(name: SecretVariable, parse: (text: string) => string): string | undefined {
    const file = this.#text(`${name}_FILE`)
    if (file === undefined) return this.get(name, parse)
    if (this.has(name)) {
      this.mistake(name, `is given twice: here and by ${name}_FILE`)
      return undefined
    }
    return this.attempt(`${name}_FILE`, () => parse(readFileSync(readableFile(this.path(file)), 'utf8').trim()))
  }

  #text(name: string): string | undefined {
    const text = this.#values[name]?.trim()
    return text === '' ? undefined : text
  }
}

/** User ids have 255 bytes at most, and a name that leaves too few of them for people is refused while it can be changed. */
const LONGEST_SERVER_NAME = 230

function parseServerName(text: string): string {
  if (text.includes('://')) throw new Error(`"${text}" is a URL; the name alone is wanted, as in "example.org"`)
  if (!isServerName(text)) throw new Error(`"${text}" is not a server name, as "example.org" or "example.org:8448"`)
  if (text !== text.toLowerCase()) throw new Error(`"${text}" has upper-case letters; write "${text.toLowerCase()}"`)
  const port = /:(\d+)$/.exec(text)?.[1]
  if (port !== undefined && !isPort(Number(port))) throw new Error(`"${text}" has a port that is not from 1 to 65535`)
  if (text.length > LONGEST_SERVER_NAME) throw new Error(`is longer than ${LONGEST_SERVER_NAME} characters`)
  return text
}

const isPort = (port: number): boolean => port >= 1 && port <= 65_535

function defaultBaseUrl(serverName: string | undefined, listen: ListenAddress | undefined): string {
  if (serverName !== 'localhost') return `https://${serverName ?? 'localhost'}`
  return `http://localhost:${listen?.port ?? 0}`
}

function parseBaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new Error(`"${text}" is not a URL that begins with https:// (or http://)`)
  }
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    throw new Error(`"${text}" may have no user, "?" or "#"`)
  }
  return url.href.replace(/\/+$/, '')
}

function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  const known = host === 'localhost' || (match?.[1] === undefined ? isIP(host ?? '') === 4 : isIPv6(match[1]))
  if (host === undefined || !known || port > 65_535) {
    throw new Error(`"${text}" is not address:port, as in "127.0.0.1:8008", "0.0.0.0:8008" or "[::]:8008"`)
  }
  return { host, port }
}

const loopback = ['127.0.0.0/8', '::1']

function parseProxies(text: string): string[] {
  if (text === 'none') return []
  return words(text).flatMap((word) => (word === 'loopback' ? loopback : [parseRange(word)]))
}

function parseAllow(text: string): readonly string[] | 'all' {
  return text === 'all' ? 'all' : words(text).map(parseRange)
}

function parseServerNames(text: string): readonly string[] {
  const names = words(text)
  const wrong = names.find((name) => !isServerName(name))
  if (wrong !== undefined) throw new Error(`"${wrong}" is not the name of a server`)
  return names
}

const words = (text: string): string[] => text.split(/[\s,]+/).filter((word) => word !== '')

function parseRange(text: string): string {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  const length = bits === undefined ? 0 : /^\d{1,3}$/.test(bits) ? Number(bits) : Infinity
  if (family === 0 || rest.length > 0 || length > (family === 4 ? 32 : 128)) {
    throw new Error(`"${text}" is not an address or a range, as "10.0.0.7" or "10.0.0.0/8"`)
  }
  if (bits !== undefined) new BlockList().addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6')
  return text
}

function parseCacheMb(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 16 || value > 1_048_576) {
    throw new Error(`"${text}" is not a whole number of megabytes from 16 to 1048576`)
  }
  return value
}

function oneOf<const T extends string>(...allowed: readonly T[]): (text: string) => T {
  return (text) => {
    const found = allowed.find((word) => word === text.toLowerCase())
    if (found === undefined) throw new Error(`"${text}" is not one of ${allowed.join(', ')}`)
    return found
  }
}

/** What the URL holds is not repeated: there may be a password in it. */
function parseDatabaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['postgres:', 'postgresql:'].includes(url.protocol)) {
    throw new Error(
      'is not a URL as postgres://user:password@host:5432/database, or, for a socket in a folder, ' +
        'postgres://user@localhost/database?host=/run/postgresql',
    )
  }
  if (url.pathname.length < 2)
    throw new Error('names no database; it stands after the host, as in postgres://host/hearth')
  return text
}

/** Whoever knows it makes administrators. It is no password that a person has to remember. */
function parseSharedSecret(text: string): string {
  if (text.length < 16) throw new Error('is shorter than 16 characters; `openssl rand -hex 32` makes a good one')
  return text
}

function readableFile(path: string): string {
  because(`${path} cannot be read`, () => accessSync(path, constants.R_OK))
  if (!statSync(path).isFile()) throw new Error(`${path} is not a file`)
  return path
}

/** The first start makes it, in a folder that it makes too. */
function parseKeyFile(path: string): string {
  if (isThere(path)) return readableFile(path)
  parseFolder(dirname(path))
  return path
}

/** Also a link to nothing, in whose place nothing can be made. */
const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

function parseCertificates(path: string): string {
  const text = readFileSync(readableFile(path), 'utf8')
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${path} holds no certificate in PEM`)
  return path
}

/** The folder itself is made at start; whether it can be is seen here. */
function parseFolder(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) {
    if (isThere(path)) throw new Error(`${path} is a link to what does not exist`)
    if (dirname(path) !== path) parseFolder(dirname(path))
    return path
  }
  if (!found.isDirectory()) throw new Error(`${path} is not a folder`)
  because(`${path} is not writable for this user`, () => accessSync(path, constants.W_OK | constants.X_OK))
  return path
}

/** Names in `.env` that mean nothing here; in the environment there are always such. */
function unknownNames(fromFile: Environment): string[] {
  const known = new Set<string>([...variables, ...secretVariables.map((name) => `${name}_FILE`)])
  return Object.keys(fromFile)
    .filter((name) => !known.has(name))
    .map((name) => `.env: ${name} is not a variable of Hearth`)
}

function doubts({ registration, http, publicBaseUrl, serverName }: Omit<Config, 'database'>): string[] {
  const found: string[] = []
  if (registration === 'open' && !http.rateLimits) {
    found.push('REGISTRATION=open with RATE_LIMITS=off: anybody can make any number of accounts')
  }
  if (publicBaseUrl.startsWith('http://') && serverName !== 'localhost') {
    found.push('PUBLIC_BASE_URL is not https: passwords and messages travel in the clear')
  }
  return found
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const part of Object.values(value)) freeze(part)
  return Object.freeze(value)
}
