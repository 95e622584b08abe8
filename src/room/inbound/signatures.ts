/**
 * Check 2 on receipt of a PDU: the signatures. Verifying runs on the thread pool, so that a batch of PDUs is verified
 * on all cores while the event loop goes on.
 * https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
 */
import { verify as verifyBytes, type KeyObject } from 'node:crypto'
import { joinAuthorisedVia } from '../../protocol/authorization/index.js'
import { decodeBase64 } from '../../protocol/base64.js'
import { canonicalJson } from '../../protocol/canonical-json.js'
import { contentHashMatches, numbersOf } from '../../protocol/hashes.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { isObject, own, ownString, type JsonObject } from '../../protocol/json.js'
import { redactContent } from '../../protocol/redaction.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import { keyToVerify } from '../../protocol/signing.js'
import type { VerifyKey } from './peers.js'
import type { Pdu } from './read-pdu.js'

/** A server has one key, or two while it changes them. What a peer adds costs a verification and a look-up each. */
export const MAX_SIGNATURES_OF_SERVER = 10

/** The servers whose signature the event must have. */
export function signersOf(rules: RoomVersionRules, event: RoomEvent): ReadonlySet<string> {
  const signers = new Set<string>()
  const add = (id: string) => signers.add(serverNameOf(id) ?? '')
  // Unless the event is a 3rd party invite, only the signature(s) from the originating server (the server the sender
  // belongs to) are required for verification.
  if (!isThirdPartyInvite(rules, event)) add(event.sender)
  // Room versions 1 and 2 also require that a signature is present from the domain in the event_id.
  if (rules.eventIdServerSigns) add(event.eventId)
  // Since v8: if the event is not validly signed by the homeserver of the user ID denoted by
  // join_authorised_via_users_server, reject. No server that checked it would send it: it is dropped with the others.
  const authoriser = joinAuthorisedVia(rules, event)
  if (typeof authoriser === 'string') add(authoriser)
  return signers
}

/**
 * In 3rd party invites the server which actually sends the event may be a different server. Such an invite is one by what
 * is used of it: where its hash is wrong, by what its redaction leaves.
 */
function isThirdPartyInvite(rules: RoomVersionRules, { type, content, pdu }: RoomEvent): boolean {
  if (type !== 'm.room.member' || ownString(content, 'membership') !== 'invite') return false
  if (own(content, 'third_party_invite') === undefined) return false
  if (contentHashMatches(rules, pdu)) return true
  return own(redactContent(rules, type, content), 'third_party_invite') !== undefined
}

/** The key ids by which a server signed the event. */
export function keyIdsOf(event: RoomEvent, server: string): readonly string[] {
  const signatures = own(event.pdu, 'signatures')
  const ofServer = isObject(signatures) ? own(signatures, server) : undefined
  return isObject(ofServer) ? Object.keys(ofServer).filter((keyId) => keyId.startsWith('ed25519:')) : []
}

/** What can be seen without keys: a reason, or undefined. */
export function lacksSignature(rules: RoomVersionRules, event: RoomEvent): string | undefined {
  for (const server of signersOf(rules, event)) {
    const count = keyIdsOf(event, server).length
    if (count === 0) return `not signed by ${server}`
    if (count > MAX_SIGNATURES_OF_SERVER) return `${count} signatures of ${server}`
  }
  return undefined
}

/** A reason, or undefined when all is well. `keys`: those of each server in `signersOf`, as far as anybody knows them. */
export async function wrongSignature(
  rules: RoomVersionRules,
  pdu: Pdu,
  keys: (server: string) => Promise<ReadonlyMap<string, VerifyKey>>,
): Promise<string | undefined> {
  for (const server of signersOf(rules, pdu.event)) {
    if (!(await isSignedBy(rules, pdu, server, await keys(server)))) return `no valid signature of ${server}`
  }
  return undefined
}

/** If a signature is from an unknown or expired key, it is skipped; all others, of which there is one, must be valid. */
export async function isSignedBy(
  rules: RoomVersionRules,
  pdu: Pdu,
  server: string,
  keys: ReadonlyMap<string, VerifyKey>,
): Promise<boolean> {
  let verified = false
  for (const keyId of keyIdsOf(pdu.event, server)) {
    const key = keys.get(keyId)
    // Since v5: signatures of keys that were not valid at origin_server_ts do not count.
    if (key === undefined || (rules.enforcesKeyValidity && key.validUntil < pdu.event.originServerTs)) continue
    if (!(await hasSignature(pdu, server, keyId, key.key))) return false
    verified = true
  }
  return verified
}

/** Signatures are not covered by signatures: what the others signed stays as it is. */
export function withSignature(
  rules: RoomVersionRules,
  pdu: Pdu,
  server: string,
  keyId: string,
  signature: string,
): Pdu {
  const signatures = own(pdu.event.pdu, 'signatures') as JsonObject
  const ofServer = own(signatures, server)
  const changed = {
    ...pdu.event.pdu,
    signatures: { ...signatures, [server]: { ...(isObject(ofServer) ? ofServer : {}), [keyId]: signature } },
  }
  return { ...pdu, event: { ...pdu.event, pdu: changed }, text: canonicalJson(changed, numbersOf(rules)) }
}

/** Whether the event carries a signature of this server by this key. */
export async function hasSignature(
  { event, essential }: Pdu,
  server: string,
  keyId: string,
  publicKey: Uint8Array,
): Promise<boolean> {
  const signatures = own(event.pdu, 'signatures')
  const ofServer = isObject(signatures) ? own(signatures, server) : undefined
  const encoded = isObject(ofServer) ? ownString(ofServer, keyId) : undefined
  const signature = encoded === undefined ? undefined : decodeBase64(encoded)
  const key = signature && keyToVerify(publicKey, signature)
  return key !== undefined && verifyOnPool(key, Buffer.from(essential), signature!)
}

export const verifyOnPool = (key: KeyObject, message: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  new Promise((resolve, reject) =>
    verifyBytes(null, message, key, signature, (cause, valid) => (cause === null ? resolve(valid) : reject(cause))),
  )
