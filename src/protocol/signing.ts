import {
  createPrivateKey,
  createPublicKey,
  sign as signBytes,
  verify as verifyBytes,
  type KeyObject,
} from 'node:crypto'
import { LRUCache } from 'lru-cache'
import nacl from 'tweetnacl'
import { decodeBase64, encodeBase64 } from './base64.js'
import {
  addMember,
  CanonicalJsonError,
  canonicalJson,
  canonicalMembers,
  joinMembers,
  joinMembersForGood,
  type CanonicalMember,
} from './canonical-json.js'
import { eventIdOfEssential } from './event-id.js'
import { numbersOf, sha256Base64, signedText } from './hashes.js'
import { isObject, own, ownString, type Json, type JsonObject } from './json.js'
import { keptKeys, redactContent } from './redaction.js'
import type { RoomVersionRules } from './room-versions.js'

/**
 * Ed25519 signatures of JSON objects and events. https://spec.matrix.org/v1.19/appendices/#signing-json
 *
 * Signing and verifying is OpenSSL's, a hundred times faster than tweetnacl with the same bytes. tweetnacl derives the
 * public key from a seed and nothing else: its `verify` takes malleable signatures.
 */

export interface SigningKey {
  /** `ed25519:a_Ab1c`: algorithm and version. */
  readonly keyId: string
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array
  /** For a thread that signs: it does not survive being copied otherwise. */
  readonly privateKey: KeyObject
}

/** The key of a 32-byte seed. `version` is `[A-Za-z0-9_]+` and must differ for every key a server ever has. */
export function signingKeyFromSeed(version: string, seed: Uint8Array): SigningKey {
  if (!/^[A-Za-z0-9_]+$/.test(version)) throw new Error(`A key version is made of A-Z a-z 0-9 _, not '${version}'`)
  if (seed.length !== 32) throw new Error(`An Ed25519 seed has 32 bytes, not ${seed.length}`)
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' })
  return {
    keyId: `ed25519:${version}`,
    publicKey: nacl.sign.keyPair.fromSeed(Uint8Array.from(seed)).publicKey,
    sign: (message) => signBytes(null, message, key),
    privateKey: key,
  }
}

/** What stands before the 32 bytes of a seed and of a public key in DER (RFC 8410). */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/** Reads Synapse's key file: lines `ed25519 version seed`, of which the first is the key. Throws an `Error` that says what is wrong. */
export function parseSigningKeyFile(text: string): SigningKey {
  const line = text.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#'))
  if (line === undefined) throw new Error('The signing key file is empty')
  const [algorithm, version, encodedSeed, ...rest] = line.trim().split(/\s+/)
  if (version === undefined || encodedSeed === undefined || rest.length > 0) {
    throw new Error("The signing key file must hold three words: 'ed25519', the version, the seed in base64")
  }
  if (algorithm !== 'ed25519') throw new Error(`The signing key file holds a key of type '${algorithm}', not 'ed25519'`)
  const seed = decodeBase64(encodedSeed)
  if (seed === undefined) throw new Error('The seed in the signing key file is not base64')
  return signingKeyFromSeed(version, seed)
}

/** The text of a key file that Synapse reads too. It is secret. */
export const formatSigningKeyFile = (version: string, seed: Uint8Array): string =>
  `ed25519 ${version} ${encodeBase64(seed)}\n`

/** The object with our signature beside those it has. `unsigned` is kept and not covered. Throws `CanonicalJsonError`. */
export function signJson(object: JsonObject, serverName: string, key: SigningKey): JsonObject {
  const signature = signText(key, canonicalJson({ ...object, signatures: undefined, unsigned: undefined }))
  return withSignature(object, serverName, key.keyId, signature)
}

/** Whether the object carries a signature of this server by this key. False also when there is none, or it is malformed. */
export function verifyJson(object: JsonObject, serverName: string, keyId: string, publicKey: Uint8Array): boolean {
  return verifySignatureOver(object, serverName, keyId, publicKey, () =>
    canonicalJson({ ...object, signatures: undefined, unsigned: undefined }),
  )
}

/** The event with our signature beside those it has, as for an invite of ours to a user of theirs. `hashes` must be there. */
export const signEvent = (rules: RoomVersionRules, pdu: JsonObject, serverName: string, key: SigningKey): JsonObject =>
  withSignature(pdu, serverName, key.keyId, signText(key, signedText(rules, pdu)))

/** As `verifyJson`, for an event: the signature covers the redacted event, so that it outlives a redaction. */
export function verifyEventSignature(
  rules: RoomVersionRules,
  pdu: JsonObject,
  serverName: string,
  keyId: string,
  publicKey: Uint8Array,
): boolean {
  return verifySignatureOver(pdu, serverName, keyId, publicKey, () => signedText(rules, pdu))
}

/** An event of ours that lacks only its signature. Its id does not cover that: others can be built on it already. */
export interface HashedEvent {
  readonly eventId: string
  /** What is to be signed: the canonical JSON of the redacted event. */
  readonly essential: string
  readonly pdu: Record<string, Json | undefined>
  /** Of the whole event, `hashes` included, in canonical order. */
  readonly members: readonly CanonicalMember[]
}

/** `text` is the canonical JSON of the whole event. */
export interface SignedEvent {
  readonly pdu: JsonObject
  readonly text: string
}

/**
 * Hashes an event of ours, which has neither `hashes` nor `signatures` yet: `pdu` gets its `hashes`. Every send runs this,
 * so nothing is copied, each member is written once, and three texts are joined from them. Throws `CanonicalJsonError`.
 */
export function hashEvent(rules: RoomVersionRules, pdu: Record<string, Json | undefined>): HashedEvent {
  const members = canonicalMembers(pdu, numbersOf(rules))
  const sha256 = sha256Base64(joinMembers(members, 'unsigned'))
  addMember(members, { key: 'hashes', text: `"hashes":{"sha256":"${sha256}"}` })
  const essential = joinMembers(essentialMembers(rules, pdu, members))
  pdu['hashes'] = { sha256 }
  return { eventId: ownEventId(rules, pdu, essential), essential, pdu, members }
}

/** The event with a signature of its `essential`, in base64: its PDU gets its `signatures`. */
export function signedBy(hashed: HashedEvent, serverName: string, keyId: string, signature: string): SignedEvent {
  const signatures = { [serverName]: { [keyId]: signature } }
  const { pdu } = hashed
  pdu['signatures'] = signatures
  const members = [...hashed.members]
  // Not put together from the names: V8 takes a string that has been a key for one of two bytes a character, and so
  // everything that it is a part of, here the text of the whole event.
  addMember(members, { key: 'signatures', text: `"signatures":${JSON.stringify(signatures)}` })
  return { pdu, text: joinMembersForGood(members) }
}

/** As long as every signature is, in base64. */
const anySignature = 'A'.repeat(86)

/** A text as large as that of the event with a signature of this server and key; its members are not in order. */
export const asLargeAsSigned = ({ members }: HashedEvent, serverName: string, keyId: string): string =>
  joinMembers([...members, { key: '', text: `"signatures":{"${serverName}":{"${keyId}":"${anySignature}"}}` }])

/** Hashes and signs an event of ours. `hashes` and `signatures` of `pdu`, if it has any, are replaced. Throws `CanonicalJsonError`. */
export function finishEvent(
  rules: RoomVersionRules,
  pdu: JsonObject,
  serverName: string,
  key: SigningKey,
): SignedEvent & { readonly eventId: string } {
  const hashed = hashEvent(rules, { ...pdu, hashes: undefined, signatures: undefined })
  return { eventId: hashed.eventId, ...signedBy(hashed, serverName, key.keyId, signText(key, hashed.essential)) }
}

/** What `redact` keeps, as members: those at the top level are the same, the content is another. */
function essentialMembers(
  rules: RoomVersionRules,
  pdu: JsonObject,
  members: readonly CanonicalMember[],
): CanonicalMember[] {
  const kept = keptKeys(rules)
  const content = redactContent(rules, ownString(pdu, 'type'), own(pdu, 'content'))
  const essential = members.filter(({ key }) => kept.includes(key))
  addMember(essential, { key: 'content', text: `"content":${canonicalJson(content, numbersOf(rules))}` })
  return essential
}

function ownEventId(rules: RoomVersionRules, pdu: JsonObject, essential: string): string {
  if (rules.eventIdFormat !== 'in-pdu') return eventIdOfEssential(rules, essential)
  const eventId = ownString(pdu, 'event_id')
  if (eventId === undefined) throw new Error('Events of room versions 1 and 2 need an event_id before they are signed')
  return eventId
}

/** In base64. */
export const signText = (key: SigningKey, text: string): string => encodeBase64(key.sign(Buffer.from(text)))

function withSignature(object: JsonObject, serverName: string, keyId: string, signature: string): JsonObject {
  const signatures = own(object, 'signatures')
  const others = isObject(signatures) ? signatures : {}
  const ours = own(others, serverName)
  return {
    ...object,
    signatures: { ...others, [serverName]: { ...(isObject(ours) ? ours : {}), [keyId]: signature } },
  }
}

function verifySignatureOver(
  object: JsonObject,
  serverName: string,
  keyId: string,
  publicKey: Uint8Array,
  text: () => string,
): boolean {
  const signature = signatureOf(object, serverName, keyId)
  if (signature === undefined) return false
  try {
    return verify(publicKey, Buffer.from(text()), signature)
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return false
    throw cause
  }
}

function signatureOf(object: JsonObject, serverName: string, keyId: string): Uint8Array | undefined {
  const signatures = own(object, 'signatures')
  const ofServer = isObject(signatures) ? own(signatures, serverName) : undefined
  const encoded = isObject(ofServer) ? ownString(ofServer, keyId) : undefined
  return encoded === undefined ? undefined : decodeBase64(encoded)
}

/** Whether the signature is right, in the judgement of libsodium, and so of Synapse. Never throws. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const key = keyToVerify(publicKey, signature)
  return key !== undefined && verifyBytes(null, message, key, signature)
}

/** Keys whose private halves everybody has: one was shipped inside an installer (CVE-2026-24044). */
const publishedKeys: ReadonlySet<string> = new Set(['l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og'])

/** Whether anybody can sign with this key. */
export const isPublishedKey = (publicKey: Uint8Array): boolean => publishedKeys.has(encodeBase64(publicKey))

/**
 * The key with which OpenSSL judges a signature as libsodium does; undefined for what libsodium refuses, and for keys that
 * everybody can sign with. OpenSSL alone takes public keys and first halves R of small order, for which signatures over
 * any message can be made up, and public keys that are not reduced. Both refuse S >= L.
 */
export function keyToVerify(publicKey: Uint8Array, signature: Uint8Array): KeyObject | undefined {
  if (publicKey.length !== 32 || signature.length !== 64) return undefined
  if (hasSmallOrder(signature.subarray(0, 32)) || hasSmallOrder(publicKey)) return undefined
  return isCanonicalPoint(publicKey) ? keyObjectOf(publicKey) : undefined
}

/** Making a key object costs as much as a verification. The keys of a few thousand servers come again and again. */
const keyObjects = new LRUCache<string, KeyObject>({ max: 4096 })

function keyObjectOf(publicKey: Uint8Array): KeyObject | undefined {
  const name = encodeBase64(publicKey)
  if (publishedKeys.has(name)) return undefined
  const known = keyObjects.get(name)
  if (known !== undefined) return known
  const made = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: 'der', type: 'spki' })
  keyObjects.set(name, made)
  return made
}

/** The y coordinate, little-endian below the sign bit, is less than p = 2^255 - 19. */
function isCanonicalPoint(point: Uint8Array): boolean {
  return point[0]! < 0xed || (point[31]! & 0x7f) !== 0x7f || point.subarray(1, 31).some((byte) => byte !== 0xff)
}

/** The y coordinates of all points whose order divides 8: 0, 1, the two of order 8, -1, and the unreduced p and p + 1. */
const smallOrderPoints = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map((hex) => Buffer.from(hex, 'hex'))

const hasSmallOrder = (point: Uint8Array): boolean =>
  smallOrderPoints.some((small) => (point[31]! & 0x7f) === small[31] && equalBelowSign(point, small))

function equalBelowSign(point: Uint8Array, other: Uint8Array): boolean {
  for (let at = 0; at < 31; at++) {
    if (point[at] !== other[at]) return false
  }
  return true
}
