import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { ConfigError, readConfig } from '../src/config.js'
import { packageFolder } from '../src/package-folder.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-config-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const read = (environment: Record<string, string>, dotenv = '') => readConfig(environment, { folder, dotenv })

/** `VARIABLE: message` of each mistake. */
function mistakesOf(environment: Record<string, string>): string[] {
  try {
    read(environment)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.mistakes.map(({ variable, message }) => `${variable}: ${message}`)
  }
}

function file(name: string, content: string): string {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

describe('configuration', () => {
  it('has defaults for everything', () => {
    expect(read({ PATH: '/bin' }).config).toEqual({
      serverName: 'localhost',
      publicBaseUrl: 'http://localhost:8008',
      http: {
        listen: { host: '127.0.0.1', port: 8008 },
        tls: undefined,
        trustedProxies: ['127.0.0.0/8', '::1'],
        rateLimits: true,
      },
      database: { own: true, searchPath: '/bin' },
      dataDir: join(folder, 'data'),
      signingKeyFile: join(folder, 'data', 'signing.key'),
      registration: 'closed',
      presence: 'local',
      cacheMb: 256,
      outbound: { trustedCaFile: undefined, allow: [] },
      keyNotaries: [],
      log: { level: 'info', format: 'json' },
    })
  })

  it('tells clients https://SERVER_NAME, and the listening address where the name is localhost', () => {
    expect(read({ SERVER_NAME: 'example.org' }).config.publicBaseUrl).toBe('https://example.org')
    expect(read({ LISTEN: '0.0.0.0:9000' }).config.publicBaseUrl).toBe('http://localhost:9000')
    expect(read({ PUBLIC_BASE_URL: 'https://m.example.org/hearth/' }).config.publicBaseUrl).toBe(
      'https://m.example.org/hearth',
    )
  })

  it('takes the environment before .env, and an empty variable as none', () => {
    const dotenv = 'SERVER_NAME=from.file\nCACHE_MB=64\n'
    const { config } = read({ SERVER_NAME: 'from.environment', CACHE_MB: '' }, dotenv)
    expect(config.serverName).toBe('from.environment')
    expect(config.cacheMb).toBe(64)
  })

  it('is frozen to the last part', () => {
    const { config } = read({})
    expect(Object.isFrozen(config)).toBe(true)
    expect(Object.isFrozen(config.http.listen)).toBe(true)
    expect(Object.isFrozen(config.http.trustedProxies)).toBe(true)
  })

  it('keeps secrets out of everything that is shown', () => {
    const url = 'postgres://hearth:opensesame@db/hearth'
    const { config, secrets } = read({ DATABASE_URL: url, REGISTRATION_SHARED_SECRET: 'opensesame-opensesame' })
    expect(secrets.databaseUrl).toBe(url)
    expect(secrets.registrationSharedSecret).toBe('opensesame-opensesame')
    expect(config.database.own).toBe(false)
    expect(inspect({ config, secrets }, { depth: 9, showHidden: true })).not.toContain('opensesame')
    expect(JSON.stringify({ config, secrets })).not.toContain('opensesame')
  })

  it('reads secrets from files', () => {
    const path = file('secret', 'a-secret-from-a-file\n')
    expect(read({ REGISTRATION_SHARED_SECRET_FILE: path }).secrets.registrationSharedSecret).toBe(
      'a-secret-from-a-file',
    )
    expect(read({ DATABASE_URL_FILE: file('url', 'postgres:///h?host=/run') }).secrets.databaseUrl).toBe(
      'postgres:///h?host=/run',
    )
  })

  it('names every mistake at once', () => {
    const mistakes = mistakesOf({ SERVER_NAME: 'https://x', LISTEN: '8008', CACHE_MB: 'lots', REGISTRATION: 'maybe' })
    expect(mistakes.map((mistake) => mistake.split(':')[0])).toEqual([
      'SERVER_NAME',
      'LISTEN',
      'REGISTRATION',
      'CACHE_MB',
    ])
  })

  it.each<[string, Record<string, string>, string]>([
    ['a server name with a space', { SERVER_NAME: 'my server' }, 'SERVER_NAME: "my server" is not a server name'],
    ['upper case in a name', { SERVER_NAME: 'Example.org' }, 'write "example.org"'],
    [
      'a port in a name that is none',
      { SERVER_NAME: 'example.org:99999' },
      'SERVER_NAME: "example.org:99999" has a port',
    ],
    ['port 0 in a name', { SERVER_NAME: '[::1]:0' }, 'SERVER_NAME: "[::1]:0" has a port that is not from 1 to 65535'],
    ['a base URL of another kind', { PUBLIC_BASE_URL: 'ftp://x' }, 'PUBLIC_BASE_URL: "ftp://x" is not a URL'],
    ['a base URL with a query', { PUBLIC_BASE_URL: 'https://x/?a' }, 'PUBLIC_BASE_URL: "https://x/?a" may have no'],
    ['a port out of range', { LISTEN: '127.0.0.1:70000' }, 'LISTEN: "127.0.0.1:70000" is not address:port'],
    ['a host name to listen on', { LISTEN: 'example.org:80' }, 'LISTEN: '],
    ['a range that is none', { TRUSTED_PROXIES: '10.0.0.0/33' }, 'TRUSTED_PROXIES: "10.0.0.0/33" is not an address'],
    ['no name of a server', { KEY_NOTARIES: 'matrix.org, @a:b' }, 'KEY_NOTARIES: "@a:b" is not the name of a server'],
    ['a name among ranges', { OUTBOUND_ALLOW: '10.0.0.1, nas' }, 'OUTBOUND_ALLOW: "nas" is not an address'],
    ['half of TLS', { TLS_LISTEN: '0.0.0.0:8448' }, 'TLS_CERT_FILE: is missing, and is needed with TLS_LISTEN'],
    ['a file that is not there', { TRUSTED_CA_FILE: 'none.pem' }, 'TRUSTED_CA_FILE: '],
    ['another kind of database', { DATABASE_URL: 'mysql://x/y' }, 'DATABASE_URL: is not a URL'],
    ['a database URL without a database', { DATABASE_URL: 'postgres://host' }, 'DATABASE_URL: names no database'],
    ['a weak secret', { REGISTRATION_SHARED_SECRET: 'changeme' }, 'REGISTRATION_SHARED_SECRET: is shorter than 16'],
    ['a secret file that is missing', { DATABASE_URL_FILE: 'gone' }, 'DATABASE_URL_FILE: '],
    ['a switch that is neither', { RATE_LIMITS: 'yes' }, 'RATE_LIMITS: "yes" is not one of on, off'],
    ['too little memory', { CACHE_MB: '1' }, 'CACHE_MB: "1" is not a whole number'],
    ['an unknown level', { LOG_LEVEL: 'loud' }, 'LOG_LEVEL: "loud" is not one of fatal'],
    ['an unknown format', { LOG_FORMAT: 'xml' }, 'LOG_FORMAT: "xml" is not one of json, pretty'],
  ])('refuses %s', (_what, environment, message) => {
    const mistakes = mistakesOf(environment)
    expect(mistakes.join('\n')).toContain(message)
  })

  it('refuses a data folder that is a file', () => {
    expect(mistakesOf({ DATA_DIR: file('a-file', '') })[0]).toContain('DATA_DIR: ')
    expect(mistakesOf({ DATA_DIR: join(file('a-file', ''), 'below') })[0]).toContain('DATA_DIR: ')
  })

  it('refuses a data folder that is a link to nothing', () => {
    const link = join(folder, 'dangling')
    symlinkSync(join(folder, 'nowhere'), link)
    expect(mistakesOf({ DATA_DIR: link })).toEqual([`DATA_DIR: ${link} is a link to what does not exist`])
  })

  it('refuses a signing key that is a folder, or that could not be written', () => {
    expect(mistakesOf({ SIGNING_KEY_FILE: folder })).toEqual([`SIGNING_KEY_FILE: ${folder} is not a file`])
    const below = join(file('not-a-folder', ''), 'signing.key')
    expect(mistakesOf({ SIGNING_KEY_FILE: below, CACHE_MB: '1' }).map((mistake) => mistake.split(':')[0])).toEqual([
      'SIGNING_KEY_FILE',
      'CACHE_MB',
    ])
    expect(mistakesOf({ SIGNING_KEY_FILE: join(folder, 'keys', 'signing.key') })).toEqual([])
  })

  it('names a folder that is wrong once, also where the signing key would be in it', () => {
    expect(mistakesOf({ DATA_DIR: file('wrong', '') })).toHaveLength(1)
  })

  it('refuses figures where requests are served', () => {
    expect(mistakesOf({ METRICS_LISTEN: '127.0.0.1:8008' })).toEqual(['METRICS_LISTEN: is the same address as LISTEN'])
    expect(mistakesOf({ METRICS_LISTEN: '127.0.0.1:0', LISTEN: '127.0.0.1:0' })).toEqual([])
  })

  it('refuses a secret that is given twice', () => {
    const twice = {
      REGISTRATION_SHARED_SECRET: 'x'.repeat(20),
      REGISTRATION_SHARED_SECRET_FILE: file('s', 'y'.repeat(20)),
    }
    expect(mistakesOf(twice)[0]).toContain('REGISTRATION_SHARED_SECRET: is given twice')
  })

  it('does not repeat what is in a database URL', () => {
    expect(mistakesOf({ DATABASE_URL: 'mysql://root:opensesame@x/y' })[0]).not.toContain('opensesame')
  })

  it('takes a certificate with its key and refuses one with another key', () => {
    const fixture = (name: string) => join(packageFolder, 'test', 'fixtures', 'tls', name)
    const one = { cert: fixture('one.crt'), key: fixture('one.key') }
    const tls = { TLS_LISTEN: '0.0.0.0:8448', TLS_CERT_FILE: one.cert, TLS_KEY_FILE: one.key }
    expect(read(tls).config.http.tls).toEqual({
      listen: { host: '0.0.0.0', port: 8448 },
      certFile: one.cert,
      keyFile: one.key,
    })
    expect(mistakesOf({ ...tls, TLS_KEY_FILE: fixture('two.key') })[0]).toContain('TLS_CERT_FILE: the certificate')
    expect(mistakesOf({ ...tls, TLS_KEY_FILE: one.cert })[0]).toContain('TLS_KEY_FILE: ')
    expect(mistakesOf({ ...tls, TLS_LISTEN: '127.0.0.1:8008' })[0]).toContain(
      'TLS_LISTEN: is the same address as LISTEN',
    )
  })

  it('warns of names in .env that mean nothing, and of a door wide open', () => {
    expect(read({}, 'SERVR_NAME=example.org').warnings).toEqual(['.env: SERVR_NAME is not a variable of Hearth'])
    expect(read({ REGISTRATION: 'open', RATE_LIMITS: 'off' }).warnings).toHaveLength(1)
  })
})

describe('.env.example', () => {
  const manual = readFileSync(join(packageFolder, '.env.example'), 'utf8')

  it('names every variable, and shows the defaults where there is one', () => {
    const shown = [...manual.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value] as const)
    const names = shown.map(([name]) => name)
    expect(read({}, names.map((name) => `${name}=`).join('\n')).warnings).toEqual([])
    expect(names).toHaveLength(21)
    const defaults = Object.fromEntries(shown.filter(([name]) => !name.startsWith('TLS_')))
    expect(read(defaults).config).toEqual(read({}).config)
  })
})
