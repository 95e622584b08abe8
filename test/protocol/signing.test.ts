import { createHash, createPublicKey, verify as opensslVerify } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import nacl from 'tweetnacl'
import { decodeBase64, encodeBase64 } from '../../src/protocol/base64.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { eventIdOf } from '../../src/protocol/event-id.js'
import { contentHashMatches } from '../../src/protocol/hashes.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { redact } from '../../src/protocol/redaction.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import {
  finishEvent,
  formatSigningKeyFile,
  isPublishedKey,
  keyToVerify,
  parseSigningKeyFile,
  signEvent,
  signingKeyFromSeed,
  signJson,
  verify,
  verifyEventSignature,
  verifyJson,
} from '../../src/protocol/signing.js'
import { parseJson } from '../../src/protocol/strict-json.js'
import {
  minimalEvent,
  minimalEventSigned,
  redactableEvent,
  redactableEventSigned,
  vectorKeyId,
  vectorPublicKey,
  vectorSeed,
  vectorServerName,
} from '../fixtures/signed-events.js'

const rules = (version: string) => rulesOf(version)!
const bytes = (base64: string) => decodeBase64(base64)!
const key = signingKeyFromSeed('1', bytes(vectorSeed))
const otherKey = signingKeyFromSeed('2', new Uint8Array(32).fill(9))

describe('the vectors of the specification', () => {
  it('derive the key', () => {
    expect(key.keyId).toBe(vectorKeyId)
    expect(encodeBase64(key.publicKey)).toBe(vectorPublicKey)
  })

  it.each<[JsonObject, string]>([
    [{}, 'K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ'],
    [{ one: 1, two: 'Two' }, 'KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw'],
  ])('sign %j', (object, signature) => {
    const signed = signJson(object, vectorServerName, key)
    expect(signed).toEqual({ ...object, signatures: { domain: { 'ed25519:1': signature } } })
    expect(verifyJson(signed, vectorServerName, vectorKeyId, key.publicKey)).toBe(true)
  })

  it.each([
    ['minimal', minimalEvent, minimalEventSigned],
    ['redactable', { ...redactableEvent, hashes: {} }, redactableEventSigned],
  ])('hash and sign the %s event', (_name, event, signed) => {
    const finished = finishEvent(rules('1'), { event_id: '$0:domain', ...event }, vectorServerName, key)
    if ('event_id' in event) expect(finished.pdu).toEqual(signed)

    const { pdu } = finishEvent(rules('4'), event, vectorServerName, key)
    expect(pdu).toEqual(signed)
    expect(verifyEventSignature(rules('4'), signed, vectorServerName, vectorKeyId, key.publicKey)).toBe(true)
    // These were signed with `origin`, which is no longer covered from version 11 on.
    expect(verifyEventSignature(rules('11'), signed, vectorServerName, vectorKeyId, key.publicKey)).toBe(false)
  })
})

describe('finishEvent', () => {
  const content = fc.dictionary(
    fc.constantFrom(
      'membership',
      'creator',
      'join_rule',
      'allow',
      'users',
      'ban',
      'invite',
      'redacts',
      'body',
      '__proto__',
      '😀',
      '｡',
    ),
    fc.oneof(fc.integer(), fc.string(), fc.array(fc.integer())),
  )
  const event = fc.record(
    {
      type: fc.constantFrom(
        'm.room.member',
        'm.room.create',
        'm.room.power_levels',
        'm.room.redaction',
        'm.room.message',
      ),
      content,
      event_id: fc.constant('$given:example.org'),
      room_id: fc.constant('!r:example.org'),
      sender: fc.constant('@a:example.org'),
      depth: fc.nat(),
      origin_server_ts: fc.nat(),
      prev_events: fc.constant([]),
      state_key: fc.string(),
      origin: fc.string(),
      'unknown key': fc.string(),
      unsigned: fc.constant({ age: 1 }),
    },
    { requiredKeys: ['type', 'content', 'event_id'] },
  )

  it.each(roomVersionNames)(
    'makes in version %s what the slow functions make, and it outlives a redaction',
    (version) => {
      const run = fc.property(event, (given) => {
        const pdu = given as JsonObject
        const finished = finishEvent(rules(version), pdu, 'example.org', key)

        expect(finished.text).toBe(canonicalJson(finished.pdu))
        expect(finished.eventId).toBe(eventIdOf(rules(version), finished.pdu))
        expect(contentHashMatches(rules(version), finished.pdu)).toBe(true)
        const unsigned = { ...pdu, hashes: finished.pdu['hashes'] }
        expect(signEvent(rules(version), unsigned, 'example.org', key)).toEqual(finished.pdu)

        const redacted = redact(rules(version), finished.pdu)
        expect(eventIdOf(rules(version), redacted)).toBe(finished.eventId)
        for (const signed of [finished.pdu, redacted]) {
          expect(verifyEventSignature(rules(version), signed, 'example.org', key.keyId, key.publicKey)).toBe(true)
        }
      })
      fc.assert(run, { seed: 9, numRuns: 60 })
    },
  )

  it('replaces hashes and signatures that were there', () => {
    const fresh = finishEvent(rules('12'), { ...minimalEvent, hashes: undefined, signatures: undefined }, 'domain', key)
    expect(finishEvent(rules('12'), minimalEventSigned, 'domain', key)).toEqual(fresh)
    expect(JSON.parse(fresh.text)).toEqual(fresh.pdu)
  })

  it('refuses what has no canonical form, and an event that must name itself and does not', () => {
    expect(() => finishEvent(rules('12'), { ...minimalEvent, content: { a: 1.5 } }, 'domain', key)).toThrow(/integers/)
    expect(() => finishEvent(rules('1'), minimalEvent, 'domain', key)).toThrow(/event_id/)
  })

  it('signs text that a strict reader takes', () => {
    const { value } = parseJson('{"type":"x","content":{"__proto__":1,"a":"\\u0000"},"sender":"@a:b"}')
    const { text, pdu } = finishEvent(rules('12'), value as JsonObject, 'b', key)
    expect(text).toContain('"content":{"__proto__":1,"a":"\\u0000"}')
    const read = parseJson(text)
    expect(read.nonCanonicalNumber).toBeUndefined()
    expect(read.value).toEqual(pdu)
  })
})

describe('signatures of JSON', () => {
  const signed = signJson({ a: 1, unsigned: { b: 2 } }, 'one', key)

  it('stand beside those of others, and cover neither them nor unsigned', () => {
    const twice = signJson(signJson(signed, 'two', otherKey), 'one', otherKey)
    expect(Object.keys(twice['signatures'] as object)).toEqual(['one', 'two'])
    expect(verifyJson(twice, 'one', 'ed25519:1', key.publicKey)).toBe(true)
    expect(verifyJson(twice, 'one', 'ed25519:2', otherKey.publicKey)).toBe(true)
    expect(verifyJson({ ...twice, unsigned: 'x' }, 'two', 'ed25519:2', otherKey.publicKey)).toBe(true)
  })

  it('do not hold for a changed object, another server, another key id or another key', () => {
    expect(verifyJson(signed, 'one', 'ed25519:1', key.publicKey)).toBe(true)
    expect(verifyJson({ ...signed, a: 2 }, 'one', 'ed25519:1', key.publicKey)).toBe(false)
    expect(verifyJson({ ...signed, c: 2 }, 'one', 'ed25519:1', key.publicKey)).toBe(false)
    expect(verifyJson(signed, 'two', 'ed25519:1', key.publicKey)).toBe(false)
    expect(verifyJson(signed, 'one', 'ed25519:2', key.publicKey)).toBe(false)
    expect(verifyJson(signed, 'one', 'ed25519:1', otherKey.publicKey)).toBe(false)
  })

  it.each([
    undefined,
    null,
    'x',
    [],
    {},
    { one: null },
    { one: 'x' },
    { one: { 'ed25519:1': 1 } },
    { one: { 'ed25519:1': '' } },
    { one: { 'ed25519:1': 'Zg' } },
    { one: { 'ed25519:1': '%' } },
    { one: { 'ed25519:1': encodeBase64(new Uint8Array(64)) } },
  ])('are not there where signatures is %j', (signatures) => {
    expect(verifyJson({ a: 1, signatures }, 'one', 'ed25519:1', key.publicKey)).toBe(false)
    expect(verifyEventSignature(rules('12'), { a: 1, signatures }, 'one', 'ed25519:1', key.publicKey)).toBe(false)
  })

  it('are not looked for in prototypes', () => {
    expect(verifyJson({ signatures: {} }, '__proto__', 'constructor', key.publicKey)).toBe(false)
    const odd = signJson({ a: 1 }, '__proto__', key)
    expect(verifyJson(odd, '__proto__', 'ed25519:1', key.publicKey)).toBe(true)
  })

  it('do not hold for an object that has no canonical form', () => {
    expect(verifyJson({ ...signed, a: 1.5 }, 'one', 'ed25519:1', key.publicKey)).toBe(false)
  })
})

describe('the signing key file', () => {
  it('is read as Synapse writes it, and written as Synapse reads it', () => {
    // The vector's last character has bits that belong to no byte.
    const text = `ed25519 a_Ab1c ${encodeBase64(bytes(vectorSeed))}\n`
    const read = parseSigningKeyFile(text)
    expect(read.keyId).toBe('ed25519:a_Ab1c')
    expect(encodeBase64(read.publicKey)).toBe(vectorPublicKey)
    expect(formatSigningKeyFile('a_Ab1c', bytes(vectorSeed))).toBe(text)
    expect(encodeBase64(parseSigningKeyFile(`ed25519 a ${vectorSeed}`).publicKey)).toBe(vectorPublicKey)
    expect(parseSigningKeyFile(`\r\n  ${text.trim()}=\r\n${text}`).keyId).toBe('ed25519:a_Ab1c')
  })

  it.each([
    ['', /empty/],
    ['\n\n', /empty/],
    ['ed25519', /three words/],
    ['ed25519 a', /three words/],
    [`ed25519 a ${vectorSeed} x`, /three words/],
    [`rsa a ${vectorSeed}`, /'rsa'/],
    ['ed25519 a %%%', /base64/],
    ['ed25519 a Zm9v', /32 bytes, not 3/],
    [`ed25519 a:b ${vectorSeed}`, /'a:b'/],
  ])('with the text %j is refused with a reason', (text, reason) => {
    expect(() => parseSigningKeyFile(text)).toThrow(reason)
  })

  it('does not tell the seed in a refusal', () => {
    expect(() => parseSigningKeyFile(`ed25519 a:b ${vectorSeed}`)).not.toThrow(vectorSeed)
  })
})

describe('Ed25519', () => {
  const seed = fc.uint8Array({ minLength: 32, maxLength: 32 })

  it('agrees with tweetnacl on honest keys and signatures', () => {
    const run = fc.property(seed, fc.uint8Array({ maxLength: 200 }), (seed, message) => {
      const ours = signingKeyFromSeed('a', seed)
      const theirs = nacl.sign.keyPair.fromSeed(seed)
      const signature = ours.sign(message)

      expect(encodeBase64(ours.publicKey)).toBe(encodeBase64(theirs.publicKey))
      expect(encodeBase64(signature)).toBe(encodeBase64(nacl.sign.detached(message, theirs.secretKey)))
      expect(verify(ours.publicKey, message, signature)).toBe(true)
      expect(verify(ours.publicKey, Buffer.concat([message, Buffer.of(0)]), signature)).toBe(false)
    })
    fc.assert(run, { seed: 10, numRuns: 12 })
  })

  it('refuses a signature with any bit turned', () => {
    const message = Buffer.from('message')
    const signature = key.sign(message)
    const run = fc.property(fc.nat(511), (bit) => {
      const turned = Uint8Array.from(signature)
      turned[bit >> 3]! ^= 1 << (bit & 7)
      expect(verify(key.publicKey, message, turned)).toBe(false)
    })
    fc.assert(run, { seed: 11, numRuns: 200 })
  })

  it('refuses keys and signatures of another length, and bytes that are no point', () => {
    const message = Buffer.from('message')
    const signature = key.sign(message)
    for (const length of [0, 31, 33]) expect(verify(new Uint8Array(length), message, signature)).toBe(false)
    for (const length of [0, 63, 65]) expect(verify(key.publicKey, message, new Uint8Array(length))).toBe(false)
    expect(verify(new Uint8Array(32).fill(2), message, signature)).toBe(false)
  })
})

/** What OpenSSL, and partly tweetnacl, take for right, and libsodium does not. Made with the numbers of RFC 8032. */
describe('forged signatures', () => {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n
  const numberOf = (bytes: Uint8Array) => BigInt('0x' + Buffer.from(bytes).reverse().toString('hex'))
  const bytesOf = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse()
  const sha512 = (...parts: Uint8Array[]) => createHash('sha512').update(Buffer.concat(parts)).digest()

  const identity = bytesOf(1n)
  const p = 2n ** 255n - 19n
  const smallOrder = [0n, 1n, p - 1n, p, p + 1n]
    .map(bytesOf)
    .concat(
      [
        '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
        'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      ].map((hex) => Buffer.from(hex, 'hex')),
    )
    .flatMap((point) => [point, Buffer.from(point.map((byte, at) => (at === 31 ? byte | 0x80 : byte)))])

  const opensslAccepts = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => {
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey])
    return opensslVerify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
  }

  it('with S + L for S are refused, though tweetnacl takes them', () => {
    const message = Buffer.from('message')
    const signature = key.sign(message)
    const malleable = Buffer.concat([signature.subarray(0, 32), bytesOf(numberOf(signature.subarray(32)) + L)])
    expect(nacl.sign.detached.verify(message, malleable, key.publicKey)).toBe(true)
    expect(verify(key.publicKey, message, malleable)).toBe(false)
  })

  it.each(smallOrder.map((point) => [point.toString('hex'), point] as const))(
    'by the key %s, which anybody can use, are refused',
    (_hex, point) => {
      const signature = Buffer.concat([identity, bytesOf(0n)])
      const messages = Array.from({ length: 64 }, (_, at) => Buffer.from(`message ${at}`))
      // One in eight messages at least is signed by nobody. (A set sign bit on x = 0 is one that OpenSSL refuses too.)
      const forged = messages.filter((message) => opensslAccepts(point, message, signature))
      if (point[31]! < 0x80) expect(forged.length).toBeGreaterThan(0)
      for (const message of messages) expect(verify(point, message, signature)).toBe(false)
    },
  )

  it.each(['an honest key', 'another honest key'])('with an R of small order by %s are refused', (name) => {
    const seed = new Uint8Array(32).fill(name.length)
    const honest = signingKeyFromSeed('a', seed)
    const message = Buffer.from('message')
    const secret = sha512(seed).subarray(0, 32)
    secret[0]! &= 248
    secret[31] = (secret[31]! & 127) | 64
    const k = numberOf(sha512(identity, honest.publicKey, message)) % L
    const signature = Buffer.concat([identity, bytesOf((k * numberOf(secret)) % L)])

    expect(opensslAccepts(honest.publicKey, message, signature)).toBe(true)
    expect(verify(honest.publicKey, message, signature)).toBe(false)
  })

  it('by keys that are not reduced are refused', () => {
    for (let y = p; y < 2n ** 255n; y++) {
      for (const sign of [0n, 2n ** 255n]) {
        expect(verify(bytesOf(y + sign), Buffer.from('message'), key.sign(Buffer.from('message')))).toBe(false)
      }
    }
  })

  it('by a key whose private half was published are not even looked at (CVE-2026-24044)', () => {
    const published = bytes('l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og')
    const signature = key.sign(Buffer.from('message'))
    expect(keyToVerify(key.publicKey, signature)).toBeDefined()
    expect(keyToVerify(published, signature)).toBeUndefined()
    expect(isPublishedKey(published)).toBe(true)
  })
})
