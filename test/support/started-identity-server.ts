import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { TestAuthority } from './certificates.js'
import { IdentityServer } from './identity-server.js'

/** It ends with the tests of the file. */
export async function startIdentityServer(authority = new TestAuthority()): Promise<IdentityServer> {
  const identity = await IdentityServer.start(authority)
  afterAll(identity.close)
  return identity
}

/** Of a server that may ask it. */
export function environmentToAsk({ authority }: IdentityServer): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-identity-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'ca.pem')
  writeFileSync(file, authority.cert)
  return { TRUSTED_CA_FILE: file, OUTBOUND_ALLOW: 'all' }
}
