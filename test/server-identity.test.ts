import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from '@jest/globals'
import { readConfig } from '../src/config.js'
import { establishIdentity } from '../src/server-identity.js'
import { makeSigningKey, readSigningKey } from '../src/signing-key.js'
import { testDatabase } from './support/postgres.js'

const database = await testDatabase()
const folder = mkdtempSync(join(tmpdir(), 'hearth-identity-'))
afterAll(() => rmSync(folder, { recursive: true }))
const keyFile = join(folder, 'data', 'signing.key')

const config = (more: Record<string, string> = {}) =>
  readConfig({ SERVER_NAME: 'one.test', ...more }, { folder }).config
const start = (more?: Record<string, string>, rotated = false) => establishIdentity(database, config(more), { rotated })

describe('the identity of a server', () => {
  beforeEach(async () => {
    await database.db.deleteFrom('server').execute()
    await database.db.deleteFrom('old_verify_key').execute()
    rmSync(join(folder, 'data'), { recursive: true, force: true })
  })

  it('is made by the first start and found by the next', async () => {
    const first = await start()
    expect(first.record.serverName).toBe('one.test')
    expect(first.record.signingKeyId).toMatch(/^ed25519:a_[A-Za-z]{4}$/)
    expect(first.record.stateIdentityKey).toHaveLength(32)
    const second = await start()
    expect(second.record).toEqual(first.record)
    expect(second.signingKey.keyId).toBe(first.signingKey.keyId)
  })

  it('keeps the key from other users of the machine', async () => {
    await start()
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
  })

  it('is one for starts at the same time', async () => {
    const both = await Promise.all([start(), start()])
    expect(both[0].record).toEqual(both[1].record)
  })

  it('refuses another name, naming both', async () => {
    await start()
    await expect(start({ SERVER_NAME: 'two.test' })).rejects.toThrow(/"one\.test".*"two\.test"/)
  })

  it('refuses another key, naming both and saying how to rotate', async () => {
    const { record } = await start()
    rmSync(keyFile)
    const other = makeSigningKey(keyFile)
    const refusal = start()
    await expect(refusal).rejects.toThrow(record.signingKeyId)
    await expect(refusal).rejects.toThrow(other.keyId)
    await expect(refusal).rejects.toThrow('--signing-key-rotated')
  })

  it('does not make a new key for a server that has one recorded', async () => {
    await start()
    rmSync(keyFile)
    await expect(start()).rejects.toThrow('there is no such file')
    expect(existsSync(keyFile)).toBe(false)
  })

  it('takes a rotated key and keeps the former one for verifying', async () => {
    const { record } = await start()
    rmSync(keyFile)
    const { signingKey } = await start({}, true)
    expect(signingKey.keyId).not.toBe(record.signingKeyId)
    expect((await start()).record.signingKeyId).toBe(signingKey.keyId)
    const old = await database.db.selectFrom('old_verify_key').select(['key_id', 'public_key']).execute()
    expect(old).toEqual([{ key_id: record.signingKeyId, public_key: record.signingPublicKey }])
  })
})

describe('the signing key file', () => {
  it('is the one that was there first', () => {
    const path = join(folder, 'twice.key')
    expect(makeSigningKey(path).keyId).toBe(makeSigningKey(path).keyId)
  })

  it('is named with what is wrong in it', () => {
    const path = join(folder, 'broken.key')
    writeFileSync(path, 'ed25519 a_1')
    chmodSync(path, 0o600)
    expect(() => readSigningKey(path)).toThrow(path)
  })
})
