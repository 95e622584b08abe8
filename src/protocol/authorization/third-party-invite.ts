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
 * Signature checks, of some 0.1 ms, that are made at once. Honest invites have one signature and at most a few keys, but
 * whoever may invite may list some 1,000 keys in one event and put 600 signatures into the other, and "any signature"
 * that fits "any public key" allows the invite, however many there are: to reject it for their number would be another
 * verdict than that of other servers.
 */
const MOST_AT_ONCE = 100

export interface RedeemedInvite {
  readonly invite: RoomEvent
  /** The `m.room.third_party_invite` event. */
  readonly offer: RoomEvent
}

/** The invite would take too many signature checks here and now. It is neither allowed nor rejected. */
export class ThirdPartyInviteTooCostly extends Error {
  override readonly name = 'ThirdPartyInviteTooCostly'
  constructor(
    readonly checks: number,
    allowed: number,
    /** What can be decided elsewhere (`signatureChecks`, `decide`); undefined: it is no event yet. */
    readonly redeemed?: RedeemedInvite,
  ) {
    const which = redeemed === undefined ? 'a third-party invite' : `the invite ${redeemed.invite.eventId}`
    super(`${which} takes ${checks} signature checks, of which ${allowed} are allowed`)
  }
}

/** Told before signature checks are made; throws when they are too many. */
export type SpendChecks = (checks: number, redeemed: RedeemedInvite) => void

export const fewChecks: SpendChecks = (checks, redeemed) => {
  if (checks > MOST_AT_ONCE) throw new ThirdPartyInviteTooCostly(checks, MOST_AT_ONCE, redeemed)
}

/** What was decided elsewhere, by the invite and the offer: both are what they were as long as they are the same objects. */
const decided = new WeakMap<RoomEvent, WeakMap<RoomEvent, boolean>>()

/** `isVouchedFor`: whether one of the `signatureChecks` was passed. */
export function decide({ invite, offer }: RedeemedInvite, isVouchedFor: boolean): void {
  const ofInvite = decided.get(invite) ?? new WeakMap<RoomEvent, boolean>()
  decided.set(invite, ofInvite.set(offer, isVouchedFor))
}

export interface SignatureCheck {
  readonly publicKey: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

/** Every signature with every key: the invite is vouched for if one of them is valid. */
export function* signatureChecks({ invite, offer }: RedeemedInvite): Generator<SignatureCheck> {
  const signed = signedOf(invite)
  const message = signed && signedBytes(signed)
  if (message === undefined) return
  const signatures = signaturesOf(signed!)
  for (const publicKey of publicKeysOf(offer))
    for (const signature of signatures) yield { publicKey, message, signature }
}

function signedOf({ content }: RoomEvent): JsonObject | undefined {
  const redeemed = own(content, 'third_party_invite')
  const signed = isObject(redeemed) ? own(redeemed, 'signed') : undefined
  return isObject(signed) ? signed : undefined
}

/** @throws what `spendChecks` throws */
export function checkThirdPartyInvite({ event, state, target, spendChecks }: MemberChange): Verdict {
  // If target user is banned, reject.
  if (target.membership === 'ban') return reject('third-party invite: the target is banned')

  // If content.third_party_invite does not have a signed property, reject.
  const signed = signedOf(event)
  if (signed === undefined) return reject('third-party invite: no signed')

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
  return isVouchedFor({ invite: event, offer }, signed, spendChecks)
    ? allow
    : reject('third-party invite: no signature fits a key of the invite in the room')
}

function isVouchedFor(redeemed: RedeemedInvite, signed: JsonObject, spendChecks: SpendChecks): boolean {
  const known = decided.get(redeemed.invite)?.get(redeemed.offer)
  if (known !== undefined) return known
  spendChecks(signaturesOf(signed).length * publicKeysOf(redeemed.offer).length, redeemed)
  for (const { publicKey, message, signature } of signatureChecks(redeemed)) {
    if (verify(publicKey, message, signature)) return true
  }
  return false
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
export function vouchersOf({ content }: RoomEvent, signed: JsonObject): readonly Voucher[] {
  const message = signedBytes(signed)
  if (message === undefined) return []

  const { signatures: _signatures, unsigned: _unsigned, ...rest } = signed
  const signatures = namedSignaturesOf(signed)
  const keys = inviteKeysOf(content)
  const checks = signatures.length * keys.length
  if (checks > MOST_AT_ONCE) throw new ThirdPartyInviteTooCostly(checks, MOST_AT_ONCE)
  return keys.flatMap((key) => {
    const [publicKey] = decodeAll([key.publicKey], 32)
    const fitting =
      publicKey && signatures.find(({ text }) => decodeAll([text], 64).some((it) => verify(publicKey, message, it)))
    if (fitting === undefined) return []
    const { server, keyId, text } = fitting
    return [{ key, signed: { ...rest, signatures: { [server]: { [keyId]: text } } } }]
  })
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
