/**
 * Authorisation of an invite that redeems an `m.room.third_party_invite` event: the identity server vouches by a signature
 * that the invited address belongs to the target. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
import { decodeBase64 } from '../base64.js'
import { CanonicalJsonError, canonicalJson } from '../canonical-json.js'
import { type Json, type JsonObject, isObject, own, ownString } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import { verify } from '../signing.js'
import { type Verdict, allow, reject } from '../verdict.js'
import type { MemberChange } from './member.js'

/**
 * One event may carry some 600 signatures and the other 1,000 keys, and any of them may fit any: more than a minute of
 * work for one invite. Honest ones have one signature and at most a few keys.
 */
const maxVerifications = 1_000
/** Of an invite that we make ourselves, and may as well refuse to make. */
const maxVerificationsOfOurs = 100

/**
 * Deciding on the invite would take more signature checks than one event may cost. It is neither allowed nor rejected: a
 * verdict has to be the same on every server, and this limit is ours.
 */
export class ThirdPartyInviteTooCostly extends Error {
  override readonly name = 'ThirdPartyInviteTooCostly'
  constructor(
    readonly eventId: string,
    verifications: number,
    allowed: number,
  ) {
    super(`The invite ${eventId} would take ${verifications} signature checks, of which ${allowed} are allowed`)
  }
}

export function checkThirdPartyInvite({ event, state, target }: MemberChange): Verdict {
  // If target user is banned, reject.
  if (target.membership === 'ban') return reject('third-party invite: the target is banned')

  // If content.third_party_invite does not have a signed property, reject.
  const invite = own(event.content, 'third_party_invite')
  const signed = isObject(invite) ? own(invite, 'signed') : undefined
  if (!isObject(signed)) return reject('third-party invite: no signed')

  // If signed does not have mxid and token properties, reject.
  const mxid = ownString(signed, 'mxid')
  const token = ownString(signed, 'token')
  if (mxid === undefined || token === undefined) return reject('third-party invite: no mxid or no token')

  // If mxid does not match state_key, reject.
  if (mxid !== target.userId) return reject('third-party invite: mxid is not the target')

  // If there is no m.room.third_party_invite event in the current room state with state_key matching token, reject.
  const offer = state('m.room.third_party_invite', token)
  if (offer === undefined) return reject('third-party invite: no such invite in the room')

  // If sender does not match sender of the m.room.third_party_invite, reject.
  if (event.sender !== offer.sender)
    return reject('third-party invite: sent by somebody else than the invite in the room')

  // If any signature in signed matches any public key in the m.room.third_party_invite event, allow. Otherwise, reject.
  return isSignedByAny(event, signed, publicKeysOf(offer))
    ? allow
    : reject('third-party invite: no signature fits a key of the invite in the room')
}

/** @throws ThirdPartyInviteTooCostly */
function isSignedByAny(event: RoomEvent, signed: JsonObject, publicKeys: readonly Uint8Array[]): boolean {
  const message = signedBytes(signed)
  if (message === undefined) return false

  const signatures = signaturesOf(signed)
  requireFew(event.eventId, signatures.length * publicKeys.length, maxVerifications)
  return publicKeys.some((publicKey) => signatures.some((signature) => verify(publicKey, message, signature)))
}

/** A key of an `m.room.third_party_invite` event, as it stands there. */
export interface InviteKey {
  readonly publicKey: string
  /** `key_validity_url`, whatever it is; undefined: "the key must be considered valid indefinitely". */
  readonly validityUrl: Json | undefined
}

export interface Voucher {
  readonly key: InviteKey
  /** What the key signed, with that signature and no other: nothing but what its owner vouches for. */
  readonly signed: JsonObject
}

/**
 * The keys of the offer that signed `signed`, for who makes an event of it.
 * @throws ThirdPartyInviteTooCostly
 */
export function vouchersOf({ eventId, content }: RoomEvent, signed: JsonObject): readonly Voucher[] {
  const message = signedBytes(signed)
  if (message === undefined) return []

  const { signatures: _signatures, unsigned: _unsigned, ...rest } = signed
  const signatures = namedSignaturesOf(signed)
  const keys = inviteKeysOf(content)
  requireFew(eventId, signatures.length * keys.length, maxVerificationsOfOurs)
  return keys.flatMap((key) => {
    const [publicKey] = decodeAll([key.publicKey], 32)
    const fitting =
      publicKey && signatures.find(({ text }) => decodeAll([text], 64).some((it) => verify(publicKey, message, it)))
    if (fitting === undefined) return []
    const { server, keyId, text } = fitting
    return [{ key, signed: { ...rest, signatures: { [server]: { [keyId]: text } } } }]
  })
}

function requireFew(eventId: string, verifications: number, allowed: number): void {
  if (verifications > allowed) throw new ThirdPartyInviteTooCostly(eventId, verifications, allowed)
}

/** What was signed, or undefined when it has no canonical form and so cannot have been. */
function signedBytes({ signatures: _signatures, unsigned: _unsigned, ...rest }: JsonObject): Uint8Array | undefined {
  try {
    return Buffer.from(canonicalJson(rest))
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return undefined
    throw cause
  }
}

/** The Ed25519 signatures, whoever made them: the rule matches any of them with any key. */
const signaturesOf = (signed: JsonObject): readonly Uint8Array[] =>
  decodeAll(
    namedSignaturesOf(signed).map(({ text }) => text),
    64,
  )

function namedSignaturesOf(signed: JsonObject): { server: string; keyId: string; text: string }[] {
  const byServer = own(signed, 'signatures')
  if (!isObject(byServer)) return []
  return Object.entries(byServer).flatMap(([server, byKey]) =>
    Object.entries(isObject(byKey) ? byKey : {}).flatMap(([keyId, text]) =>
      keyId.startsWith('ed25519:') && typeof text === 'string' ? [{ server, keyId, text }] : [],
    ),
  )
}

const publicKeysOf = ({ content }: RoomEvent): readonly Uint8Array[] =>
  decodeAll(
    inviteKeysOf(content).map(({ publicKey }) => publicKey),
    32,
  )

/** The public keys are in content of m.room.third_party_invite as: a single one in public_key, a list of them in public_keys. */
function inviteKeysOf(content: JsonObject): readonly InviteKey[] {
  const listed = own(content, 'public_keys')
  const holders = [content, ...(Array.isArray(listed) ? listed.filter(isObject) : [])]
  return holders.flatMap((holder) => {
    const publicKey = ownString(holder, 'public_key')
    return publicKey === undefined ? [] : [{ publicKey, validityUrl: own(holder, 'key_validity_url') }]
  })
}

/** The texts that are base64 of so many bytes, each once. */
const decodeAll = (texts: readonly string[], length: number): readonly Uint8Array[] =>
  [...new Set(texts)].flatMap((text) => {
    const bytes = decodeBase64(text)
    return bytes?.length === length ? [bytes] : []
  })
