import { describe, expect, it } from '@jest/globals'
import { readKeyAnswer } from '../../src/federation/server-keys-answer.js'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signJson, verifyJson, type SigningKey } from '../../src/protocol/signing.js'
import { keyAnswer, newKey } from '../support/key-servers.js'

const DAY = 24 * 3_600_000
const now = 1_800_000_000_000
const name = 'peer.example'
const [key, second, old] = [newKey('a'), newKey('b'), newKey('old')]
const read = (answer: JsonObject | string) =>
  readKeyAnswer(typeof answer === 'string' ? answer : JSON.stringify(answer), name, now)
const shown = ({ publicKey }: SigningKey) => ({ key: encodeBase64(publicKey) })

/** Signed by the first key, whatever it says. */
const saying = (changes: JsonObject) =>
  signJson(
    { server_name: name, verify_keys: { [key.keyId]: shown(key) }, valid_until_ts: now + DAY, ...changes },
    name,
    key,
  )

describe('an answer about keys', () => {
  it('is read with its keys, old ones too', () => {
    const answer = read(
      keyAnswer(name, { keys: [key, second], old: [{ key: old, expiredTs: now - DAY }], validUntil: now + DAY }),
    )
    expect(answer).toMatchObject({ serverName: name, fetchedTs: now, validUntil: now + DAY })
    expect(answer.keys).toEqual([
      { keyId: 'ed25519:a', key: expect.any(Buffer), validUntil: now + DAY, isOld: false },
      { keyId: 'ed25519:b', key: expect.any(Buffer), validUntil: now + DAY, isOld: false },
      { keyId: 'ed25519:old', key: expect.any(Buffer), validUntil: now - DAY, isOld: true },
    ])
  })

  it('counts for seven days at most', () => {
    const answer = read(keyAnswer(name, { keys: [key], validUntil: now + 1000 * DAY }))
    expect([answer.validUntil, answer.keys[0]!.validUntil]).toEqual([now + 7 * DAY, now + 7 * DAY])
  })

  it('may be over already', () => {
    expect(read(keyAnswer(name, { keys: [key], validUntil: now - 1 })).validUntil).toBe(now - 1)
  })

  it('cannot say of an old key that it will expire', () => {
    const answer = read(keyAnswer(name, { keys: [key], old: [{ key: old, expiredTs: now + DAY }], validUntil: now }))
    expect(answer.keys[1]).toMatchObject({ keyId: 'ed25519:old', validUntil: now, isOld: true })
  })

  it('says nothing of keys that did not sign it', () => {
    const answer = read(saying({ verify_keys: { [key.keyId]: shown(key), [second.keyId]: shown(second) } }))
    expect(answer.keys.map(({ keyId }) => keyId)).toEqual(['ed25519:a'])
  })

  it('is kept with what is unknown, and without what is unsigned', () => {
    const { body } = read({ ...saying({ later: [1] }), unsigned: { age: 1.5 } })
    const kept = JSON.parse(body) as JsonObject
    expect(kept).toMatchObject({ later: [1], server_name: name })
    expect(kept).not.toHaveProperty('unsigned')
    expect(verifyJson(kept, name, key.keyId, key.publicKey)).toBe(true)
  })

  it('may lack old keys, and hold things that are not keys', () => {
    const answer = saying({
      verify_keys: {
        [key.keyId]: shown(key),
        'ed25519:short': { key: 'AAAA' },
        'ed25519:none': {},
        'ed25519:bad/id': shown(key),
        'curve25519:a': shown(key),
        'ed25519:text': 'x',
      },
      old_verify_keys: { 'ed25519:x': shown(old), 'ed25519:y': { key: 1, expired_ts: 1 }, 'ed25519:z': null },
    })
    expect(read(answer).keys.map(({ keyId }) => keyId)).toEqual(['ed25519:a'])
    expect(read(saying({ old_verify_keys: [] })).keys).toHaveLength(1)
  })

  it('is bounded in its keys', () => {
    const many = Object.fromEntries(
      Array.from({ length: 1000 }, (_, at) => [`ed25519:o${at}`, { ...shown(old), expired_ts: 1 }]),
    )
    expect(read(saying({ old_verify_keys: many })).keys).toHaveLength(101)
  })

  it.each<[string, JsonObject | string]>([
    ['of another server', keyAnswer('other.example', { keys: [key], validUntil: now + DAY })],
    ['signed for another name', { ...keyAnswer('other.example', { keys: [key], validUntil: now }), server_name: name }],
    ['not signed', { ...saying({}), signatures: {} }],
    ['changed', { ...saying({}), valid_until_ts: now + 2 * DAY }],
    ['without keys', saying({ verify_keys: {} })],
    ['with an old key for its only signer', saying({ verify_keys: {}, old_verify_keys: { [key.keyId]: shown(key) } })],
    ['without an end', saying({ valid_until_ts: undefined })],
    ['that ends in words', saying({ valid_until_ts: 'never' })],
    ['that ends before time began', saying({ valid_until_ts: -1 })],
    ['not JSON', 'x'],
    ['a list', '[]'],
    ['nothing', ''],
    ['with a key twice', JSON.stringify(saying({})).replace('{', '{"server_name":"peer.example",')],
  ])('is refused that is %s', (_what, answer) => {
    expect(() => read(answer)).toThrow()
  })
})
