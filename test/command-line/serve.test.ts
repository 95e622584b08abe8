import { describe, expect, it } from '@jest/globals'
import { onTheFederation } from '../../src/command-line/on-the-federation.js'
import { summary } from '../../src/command-line/serve.js'
import { readConfig } from '../../src/config.js'

const told = (environment: Record<string, string>): string => onTheFederation(readConfig(environment).config)

function said(environment: Record<string, string>, place = 'data'): string {
  const address = 'http://localhost:8008'
  const running = { addresses: [address], baseUrl: address, place, setupLink: undefined }
  return summary(running, readConfig(environment).config)
}

describe('whether other servers can find this one', () => {
  it.each([
    ['localhost', 'not on the federation: SERVER_NAME is localhost'],
    ['localhost:8448', 'not on the federation: SERVER_NAME is localhost:8448'],
    ['192.168.1.5', 'not on the federation: SERVER_NAME is an address of a private network'],
    ['[fd00::1]:8448', 'not on the federation: SERVER_NAME is an address of a private network'],
    ['example.org:8448', 'other servers come to example.org:8448; `hearth doctor` tells whether they get here'],
  ])('%s: %s', (SERVER_NAME, expected) => {
    expect(told({ SERVER_NAME })).toBe(expected)
  })

  it('goes by the base URL where that may be told to them', () => {
    expect(told({ SERVER_NAME: 'example.org', PUBLIC_BASE_URL: 'https://matrix.example.org' })).toMatch(
      /^other servers come to matrix\.example\.org:443 when https:\/\/example\.org\/\.well-known\/matrix\/server is/,
    )
    expect(told({ SERVER_NAME: 'example.org', PUBLIC_BASE_URL: 'https://example.org/matrix' })).toMatch(
      /^other servers come to port 8448 of example\.org;/,
    )
  })

  it('counts addresses of a closed network that the operator has named', () => {
    expect(told({ SERVER_NAME: '192.168.1.5', OUTBOUND_ALLOW: '192.168.0.0/16' })).toMatch(
      /^other servers come to port/,
    )
  })

  it('is a line of what the start says', () => {
    expect(said({})).toMatch(/^ {2}Federation +not on the federation: SERVER_NAME is localhost$/m)
  })
})

describe('what is to be backed up', () => {
  const folder = process.cwd()

  it('is the data folder, which holds the signing key', () => {
    expect(said({}, 'data')).toMatch(/^ {2}Data +data \(database and signing key: back it up\)$/m)
    expect(said({}, 'data')).toMatch(new RegExp(`^ {2}Signing key +${folder}/data/signing.key$`, 'm'))
  })

  it('is the data folder, and the signing key elsewhere', () => {
    const text = said({ SIGNING_KEY_FILE: 'elsewhere/signing.key' }, 'data')
    expect(text).toMatch(/^ {2}Data +data \(database: back it up\)$/m)
    expect(text).toMatch(new RegExp(`^ {2}Signing key +${folder}/elsewhere/signing.key \\(back it up, too\\)$`, 'm'))
  })

  it('is the database of DATABASE_URL, and the signing key', () => {
    const text = said({ DATABASE_URL: 'postgres://db/hearth' }, 'DATABASE_URL')
    expect(text).toMatch(/^ {2}Data +DATABASE_URL \(database: back it up\)$/m)
    expect(text).toMatch(new RegExp(`^ {2}Signing key +${folder}/data/signing.key \\(back it up, too\\)$`, 'm'))
  })
})
