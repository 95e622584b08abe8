import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { insertAccount } from '../../src/store/accounts.js'
import {
  claimKeys,
  deviceKeysOf,
  forgetKeyCounts,
  keyCounts,
  MAX_ONE_TIME_KEYS,
  putKeys,
  type KeyUpload,
  type NamedKey,
} from '../../src/store/device-keys.js'
import { deleteDevices, putDevice } from '../../src/store/devices.js'
import type { DeviceNumber } from '../../src/protocol/numbers.js'
import { testDatabase } from '../support/postgres.js'

const { db } = await testDatabase()
const alice = '@alice:test'
let phone: DeviceNumber
let made = 0

const newDevice = (deviceId: string) =>
  db.transaction().execute((trx) => {
    const tokenHash = Buffer.alloc(32)
    tokenHash.writeUInt32BE(++made)
    return putDevice(trx, { userId: alice, deviceId, displayName: `The ${deviceId}`, tokenHash, ip: '::1' }, 0)
  })

const key = (keyId: string, body = `"${keyId}"`): NamedKey => ({ algorithm: 'signed_curve25519', keyId, body })

const upload = (device: DeviceNumber, keys: Partial<KeyUpload>) =>
  db.transaction().execute(async (trx) => {
    const result = await putKeys(trx, device, { deviceKeys: undefined, oneTimeKeys: [], fallbackKeys: [], ...keys })
    if (result !== 'done') throw new Error(result)
  })

const claim = (deviceId: string) =>
  db
    .transaction()
    .execute((trx) => claimKeys(trx, [{ userId: alice, deviceId, algorithm: 'signed_curve25519' }], 1_000))
    .then((claimed) => claimed.map(({ keyId }) => keyId))

beforeAll(() =>
  db.transaction().execute((trx) => insertAccount(trx, { userId: alice, passwordHash: undefined, isAdmin: false }, 0)),
)

beforeEach(async () => {
  await db.transaction().execute((trx) => deleteDevices(trx, alice, {}))
  phone = await newDevice('PHONE')
})

describe('identity keys', () => {
  it('are found by user, with the name of the device, and go with the device', async () => {
    await newDevice('WITHOUT')
    await upload(phone, { deviceKeys: '{"a":1}' })
    await upload(phone, { deviceKeys: '{"a":2}' })
    const found = await deviceKeysOf(db, [alice, '@bob:test'])
    expect([...found]).toEqual([[alice, [{ deviceId: 'PHONE', displayName: 'The PHONE', body: '{"a":2}' }]]])
    await db.transaction().execute((trx) => deleteDevices(trx, alice, { deviceIds: ['PHONE'] }))
    expect(await deviceKeysOf(db, [alice])).toEqual(new Map())
  })
})

describe('one-time keys', () => {
  it('are given out in the order of their uploads, once', async () => {
    await upload(phone, { oneTimeKeys: [key('b')] })
    await upload(phone, { oneTimeKeys: [key('a')] })
    expect(await claim('PHONE')).toEqual(['b'])
    expect(await claim('PHONE')).toEqual(['a'])
    expect(await claim('PHONE')).toEqual([])
  })

  it('do not come back when a claimed one is uploaded again', async () => {
    await upload(phone, { oneTimeKeys: [key('a')] })
    await claim('PHONE')
    await upload(phone, { oneTimeKeys: [key('a')] })
    expect(await claim('PHONE')).toEqual([])
  })

  it('are each claimed once by many at the same time', async () => {
    const keys = Array.from({ length: 20 }, (_, i) => key(`k${i}`))
    await upload(phone, { oneTimeKeys: keys })
    const claimed = (await Promise.all(keys.map(() => claim('PHONE')))).flat()
    expect(new Set(claimed).size).toBe(20)
  })

  it('may be uploaded twice with the same value and not with another', async () => {
    await upload(phone, { oneTimeKeys: [key('a')] })
    await upload(phone, { oneTimeKeys: [key('a'), key('b')] })
    await expect(upload(phone, { oneTimeKeys: [key('c'), key('a', '"other"')] })).rejects.toThrow('key exists')
    expect((await keyCounts(db, phone)).oneTimeKeys).toEqual({ signed_curve25519: 2 })
  })

  it('are bounded by device', async () => {
    await upload(phone, { oneTimeKeys: Array.from({ length: MAX_ONE_TIME_KEYS }, (_, i) => key(`k${i}`)) })
    await expect(upload(phone, { oneTimeKeys: [key('one more')] })).rejects.toThrow('too many')
  })
})

describe('fallback keys', () => {
  it('are given out again and again when no one-time key is left', async () => {
    await upload(phone, { oneTimeKeys: [key('once')], fallbackKeys: [key('always')] })
    expect(await claim('PHONE')).toEqual(['once'])
    expect(await claim('PHONE')).toEqual(['always'])
    expect(await claim('PHONE')).toEqual(['always'])
  })

  it('are used until another one is uploaded', async () => {
    await upload(phone, { fallbackKeys: [key('first')] })
    expect((await keyCounts(db, phone)).unusedFallback).toEqual(['signed_curve25519'])
    await claim('PHONE')
    await upload(phone, { fallbackKeys: [key('first')] })
    forgetKeyCounts(db, [phone])
    expect((await keyCounts(db, phone)).unusedFallback).toEqual([])
    await upload(phone, { fallbackKeys: [key('second')] })
    forgetKeyCounts(db, [phone])
    expect((await keyCounts(db, phone)).unusedFallback).toEqual(['signed_curve25519'])
  })
})
